//! Pictures: one shape on a background, with a frame and four corners.

use super::RawItem;
use crate::scene::{Background, Colour, Object, SIDE, Scene, Shape, Size, UNIT};
use image::{Rgb, RgbImage};

/// Grey levels of a noise of 1.
const NOISE: f64 = 64.0;
/// Pixels along each side of a corner.
const CORNER: u32 = 4;

/// Renders a picture of 64 x 64 pixels.
pub(crate) fn render(mut item: RawItem) -> RgbImage {
    let mut picture = scene(&item).render();
    let grey = |at: usize| (20.0 + 215.0 * item.share(at)) as u8;
    let last = SIDE - 1;
    for step in 0..SIDE {
        for (x, y) in [(step, 0), (step, last), (0, step), (last, step)] {
            picture.put_pixel(x, y, Rgb([grey(8); 3]));
        }
    }
    let far = SIDE - 1 - CORNER;
    for (at, (left, top)) in [(1, 1), (far, 1), (1, far), (far, far)].into_iter().enumerate() {
        for (y, x) in (0..CORNER).flat_map(|y| (0..CORNER).map(move |x| (y, x))) {
            picture.put_pixel(left + x, top + y, Rgb([grey(9 + at); 3]));
        }
    }
    if item.noise > 0.0 {
        for value in picture.iter_mut() {
            *value =
                (f64::from(*value) + NOISE * item.noise * item.rng.normal()).round().clamp(0.0, 255.0) as u8;
        }
    }
    picture
}

/// Returns the scene of one object without frame and noise.
fn scene(item: &RawItem) -> Scene {
    let units = f64::from(UNIT);
    let radius = (units * (5.0 + 5.0 * item.share(2))) as i32;
    // The object stays inside of the frame and beside the corners.
    let place = |at: usize| (units * (17.0 + 30.0 * item.share(at))) as i32;
    let centre = [place(0), place(1)];
    let (floor, ceil) = (|v: i32| (v / UNIT) as u32, |v: i32| ((v + UNIT - 1) / UNIT) as u32);
    let [x, y] = centre;
    let bounds = [floor(x - radius), floor(y - radius), ceil(x + radius), ceil(y + radius)];
    let colour = Colour::ALL[item.choice(3, Colour::ALL.len())];
    let paint = paint(item.share(3), item.share(6), item.share(7));
    let (shape, size) =
        (Shape::ALL[item.choice(4, Shape::ALL.len())], Size::ALL[item.choice(2, Size::ALL.len())]);
    let background = Background::ALL[item.choice(5, Background::ALL.len())];
    let shade = [(20.0 + 215.0 * item.share(5)) as u8; 3];
    let object = Object { shape, colour, size, bounds, centre, radius, paint };
    Scene { background, objects: vec![object], wording: 0, shade }
}

/// Returns the colour between the two named colours around `hue` in (0, 1). The named colours are at the
/// middle of their parts. `pale` mixes up to a quarter of grey, `dark` takes up to a quarter of the
/// brightness.
fn paint(hue: f64, pale: f64, dark: f64) -> [u8; 3] {
    let named = Colour::ALL;
    let at = (hue * named.len() as f64 - 0.5).clamp(0.0, (named.len() - 1) as f64);
    let (low, high) = (named[at.floor() as usize].rgb(), named[at.ceil() as usize].rgb());
    let mix = |a: u8, b: u8| f64::from(a) + at.fract() * (f64::from(b) - f64::from(a));
    let pure: Vec<f64> = low.into_iter().zip(high).map(|(a, b)| mix(a, b)).collect();
    let grey = pure.iter().sum::<f64>() / 3.0;
    let of = |value: f64| ((value + 0.25 * pale * (grey - value)) * (1.0 - 0.25 * dark)) as u8;
    [of(pure[0]), of(pure[1]), of(pure[2])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn item(noise: f64, coordinates: [f64; 12]) -> RawItem {
        RawItem { coordinates: coordinates.to_vec(), noise, rng: Rng::of(1, 1) }
    }

    #[test]
    fn every_coordinate_changes_the_picture() {
        let still = render(item(0.0, [0.1; 12]));
        for at in 0..12 {
            let mut moved = [0.1; 12];
            moved[at] = 1.6;
            assert_ne!(render(item(0.0, moved)), still, "coordinate {at}");
        }
    }

    /// The standard deviation of 12,288 values is estimated within 5 / sqrt(2 * 12288) = 3 %; clipping at the
    /// ends and rounding take some more.
    #[test]
    fn the_noise_has_the_stated_size() {
        let (clean, noisy) = (render(item(0.0, [0.0; 12])), render(item(0.1, [0.0; 12])));
        let squares = clean.iter().zip(noisy.iter()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        let deviation = (squares.sum::<f64>() / clean.iter().count() as f64).sqrt();
        assert!((deviation - 6.4).abs() < 0.4, "{deviation}");
    }

    #[test]
    fn extreme_coordinates_stay_inside() {
        for value in [-30.0, 30.0] {
            let scene = scene(&item(0.0, [value; 12]));
            let [left, top, right, bottom] = scene.objects[0].bounds;
            assert!(left >= 5 && top >= 5 && right <= SIDE - 5 && bottom <= SIDE - 5, "{scene:?}");
        }
    }
}
