use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use std::time::Instant;
fn rng(s: &mut u64) -> f32 {
    *s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    ((*s >> 33) as f32 / (1u64 << 31) as f32) - 0.5
}
fn main() {
    let n = 384usize;
    let m = 64usize;
    let mut s = 1u64;
    let all: Vec<f32> = (0..n * n * m).map(|_| rng(&mut s)).collect();
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global().unwrap();
    let f32svd = |a: &[f32]| -> Vec<f32> {
        let v = MatRef::from_row_major_slice(a, n, n);
        let mut st = faer::Col::<f32>::zeros(n);
        let no = ComputeSvdVectors::No;
        let mut mem = MemBuffer::new(svd_scratch::<f32>(n, n, no, no, Par::Seq, Default::default()));
        svd(
            v,
            st.as_mut().as_diagonal_mut(),
            None,
            None,
            Par::Seq,
            MemStack::new(&mut mem),
            Default::default(),
        )
        .unwrap();
        (0..n).map(|i| st[i]).collect()
    };
    let f64svd = |a: &[f32]| -> Vec<f32> {
        let v = Mat::<f64>::from_fn(n, n, |i, j| a[i * n + j] as f64);
        let mut st = faer::Col::<f64>::zeros(n);
        let no = ComputeSvdVectors::No;
        let mut mem = MemBuffer::new(svd_scratch::<f64>(n, n, no, no, Par::Seq, Default::default()));
        svd(
            v.as_ref(),
            st.as_mut().as_diagonal_mut(),
            None,
            None,
            Par::Seq,
            MemStack::new(&mut mem),
            Default::default(),
        )
        .unwrap();
        (0..n).map(|i| st[i] as f32).collect()
    };
    let gram = |a: &[f32]| -> Vec<f32> {
        let wide: Vec<f64> = a.iter().map(|&x| x as f64).collect();
        let v = MatRef::from_column_major_slice(&wide, n, n);
        let mut g = Mat::<f64>::zeros(n, n);
        triangular::matmul(
            g.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            v.transpose(),
            BlockStructure::Rectangular,
            v,
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        let mut st = faer::Col::<f64>::zeros(n);
        let no = evd::ComputeEigenvectors::No;
        let mut mem =
            MemBuffer::new(evd::self_adjoint_evd_scratch::<f64>(n, no, Par::Seq, Default::default()));
        evd::self_adjoint_evd(
            g.as_ref(),
            st.as_mut().as_diagonal_mut(),
            None,
            Par::Seq,
            MemStack::new(&mut mem),
            Default::default(),
        )
        .unwrap();
        (0..n).rev().map(|i| st[i].max(0.0).sqrt() as f32).collect()
    };
    let time = |name: &str, f: &(dyn Fn(&[f32]) -> Vec<f32> + Sync)| {
        let mut best = f64::INFINITY;
        let mut out = vec![];
        for _ in 0..4 {
            let t = Instant::now();
            out = all.par_chunks(n * n).map(f).collect::<Vec<_>>();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!("{name} {best:.4}");
        out
    };
    let a = time("f32 svd", &f32svd);
    let b = time("f64 svd", &f64svd);
    let c = time("f64 gram", &gram);
    let gap = |x: &[Vec<f32>], y: &[Vec<f32>]| {
        x.iter().flatten().zip(y.iter().flatten()).map(|(p, q)| (p - q).abs()).fold(0f32, f32::max) / y[0][0]
    };
    println!(
        "f32 vs f64 {:e}; gram vs f64 {:e}; smin/smax {:e}",
        gap(&a, &b),
        gap(&c, &b),
        b[0][n - 1] / b[0][0]
    );
}
