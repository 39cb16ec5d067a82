//! Rendering scenes. The coverage of a pixel is computed at 4x4 sample points.
//!
//! Whole numbers only: a shape's points are given in eighths of a pixel, relative to its centre, y growing
//! downwards.

use crate::scene::{Object, SIDE, Scene, Shape, UNIT};
use image::{Rgb, RgbImage};

/// Sample points per pixel and axis.
const SAMPLES: i32 = 4;

impl Scene {
    /// Renders the scene as an anti-aliased 64x64 picture. Later objects are drawn over earlier ones.
    pub fn render(&self) -> RgbImage {
        let mut picture = RgbImage::from_pixel(SIDE, SIDE, Rgb(self.shade));
        for object in &self.objects {
            let [left, top, right, bottom] = object.bounds;
            for (y, x) in (top..bottom).flat_map(|y| (left..right).map(move |x| (y, x))) {
                let covered = object.coverage(x, y);
                for (below, paint) in picture.get_pixel_mut(x, y).0.iter_mut().zip(object.paint) {
                    *below = blend(*below, paint, covered);
                }
            }
        }
        picture
    }
}

impl Object {
    /// Returns the number of sample points of a pixel that the shape covers.
    fn coverage(&self, x: u32, y: u32) -> u32 {
        let step = UNIT / SAMPLES;
        let point = |pixel: u32, sample: i32, axis: usize| {
            pixel as i32 * UNIT + sample * step + step / 2 - self.centre[axis]
        };
        let mut covered = 0;
        for (sy, sx) in (0..SAMPLES).flat_map(|sy| (0..SAMPLES).map(move |sx| (sy, sx))) {
            let (dx, dy) = (i64::from(point(x, sx, 0)), i64::from(point(y, sy, 1)));
            covered += u32::from(self.shape.covers(dx, dy, i64::from(self.radius)));
        }
        covered
    }
}

impl Shape {
    /// Returns whether the shape of radius `r`, centred at the origin, covers the point.
    fn covers(self, x: i64, y: i64, r: i64) -> bool {
        let inside = x.abs() <= r && y.abs() <= r;
        match self {
            Self::Circle => x * x + y * y <= r * r,
            Self::Square => inside,
            Self::Triangle => inside && 2 * x.abs() <= y + r,
            Self::Diamond => x.abs() + y.abs() <= r,
            Self::Star => inside && star(x * 1000, y * 1000, r),
            Self::Cross => inside && x.abs().min(y.abs()) * 10 <= r * 3,
            Self::Ring => (r * r * 36..=r * r * 100).contains(&(100 * (x * x + y * y))),
            Self::Heart => inside && heart(x, y, r),
        }
    }
}

/// A pentagram is the set of points that are in at least four of the half-planes of its five edges. Each edge
/// lies at cos(72 deg) = 0.309 of the radius from the centre; the points below are its normals, in
/// thousandths.
fn star(x: i64, y: i64, r: i64) -> bool {
    const NORMALS: [[i64; 2]; 5] = [[0, 1000], [951, 309], [588, -809], [-588, -809], [-951, 309]];
    let held = NORMALS.iter().filter(|[nx, ny]| (x * nx - y * ny) / 1000 <= 309 * r).count();
    held >= 4
}

/// The algebraic heart (u^2 + v^2 - 1)^3 <= u^2 v^3, with u and v scaled so that it fills the box.
fn heart(x: i64, y: i64, r: i64) -> bool {
    let one = 1000;
    let (u, v) = (x * 1140 / r, (-y * 1120 / r) + 115);
    let ring = (u * u + v * v) / one - one;
    ring.pow(3) / one <= (u * u / one) * (v.pow(3) / one / one)
}

fn blend(below: u8, paint: u8, covered: u32) -> u8 {
    let all = (SAMPLES * SAMPLES) as u32;
    ((u32::from(below) * (all - covered) + u32::from(paint) * covered + all / 2) / all) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    #[test]
    fn only_the_boxes_are_painted_and_every_object_is_visible() {
        for index in 0..300 {
            let scene = World::new(5).scene(index);
            let picture = scene.render();
            let holds = |o: &Object, x: u32, y: u32| {
                (o.bounds[0]..o.bounds[2]).contains(&x) && (o.bounds[1]..o.bounds[3]).contains(&y)
            };
            for (x, y, pixel) in picture.enumerate_pixels() {
                assert!(
                    pixel.0 == scene.shade || scene.objects.iter().any(|o| holds(o, x, y)),
                    "{index}: {x} {y}"
                );
            }
            for object in &scene.objects {
                let full = picture.pixels().filter(|p| p.0 == object.paint).count();
                // Also in the thinnest shapes, small stars and rings, some pixels are fully covered.
                assert!(full >= 8, "{index}: {object:?} shows {full} pixels");
            }
        }
    }

    #[test]
    fn each_shape_has_the_expected_area_and_extent() {
        let r = 400;
        for &shape in Shape::ALL {
            let (mut area, mut low, mut high) = (0_i64, [r; 2], [-r; 2]);
            for (y, x) in (-r..=r).flat_map(|y| (-r..=r).map(move |x| (y, x))) {
                if shape.covers(x, y, r) {
                    area += 1;
                    low = [low[0].min(x), low[1].min(y)];
                    high = [high[0].max(x), high[1].max(y)];
                }
            }
            let share = area as f64 / (4 * r * r) as f64;
            // Closed forms, except for the heart, where it is the measured value.
            let expected = match shape {
                Shape::Circle => std::f64::consts::FRAC_PI_4,
                Shape::Square => 1.0,
                Shape::Triangle | Shape::Diamond => 0.5,
                Shape::Star => 1.1226 / 4.0,
                Shape::Cross => 1.0 - 0.7 * 0.7,
                Shape::Ring => std::f64::consts::FRAC_PI_4 * (1.0 - 0.36),
                Shape::Heart => 0.70,
            };
            assert!((share - expected).abs() < 0.02, "{shape:?}: {share} of the box, expected {expected}");
            // A star extends to 0.81 and 0.95 of its radius; the other shapes reach the edge of the box.
            let reach = if shape == Shape::Star { r * 80 / 100 } else { r * 97 / 100 };
            assert!(
                low.iter().all(|&v| v <= -reach) && high.iter().all(|&v| v >= reach),
                "{shape:?} {low:?} {high:?}"
            );
        }
    }
}
