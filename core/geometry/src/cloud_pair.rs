//! A pair of clouds with cached intermediate results, which several measures share. A shuffled copy keeps
//! those that are still valid.

use ndarray::{Array2, ArrayView2, Axis, Zip, concatenate};
use std::cell::OnceCell;
use std::time::Duration;

use crate::catalogue::{Measure, Shuffle};
use crate::cka::{self, Cka};
use crate::cloud::NAMES;
use crate::discrepancy::{Mmd, bures_w2, directions, mmd2_rbf, modality_gap, sliced_w2};
use crate::graphs::{NeighbourGraph, curvature_mismatch, geodesic_distortion, hausdorff_knn};
use crate::local_covariance::{LocalCovariances, local_covariances};
use crate::neighbours::Neighbours;
use crate::persistence::{Persistence, bottleneck, persistence};
use crate::random::Random;
use crate::real::Real;
use crate::trustworthiness::trustworthiness;
use crate::{
    Error, Result, canonical, clusters, dimension, foscttm, information, neighbour_overlap, wasserstein,
};

/// Share of the variance that SVCCA keeps, as in the paper.
const SVCCA_VARIANCE: f64 = 0.99;
/// Number of projections of the sliced W2 distance.
const DIRECTIONS: usize = 256;
/// Epsilon of the Sinkhorn divergence, as a share of the mean cost.
const EPSILON: f64 = 0.05;
/// Number of principal axes of local covariances.
const LOCAL_AXES: usize = 16;
/// Number of principal coordinates for mutual information.
const COORDINATES: usize = 3;
/// Time limit of exact transport.
const EXACT_TIME: Duration = Duration::from_secs(600);

/// Two clouds and their cached intermediate results. Rows are paired if both have the same number of rows.
pub(crate) struct CloudPair<T> {
    pub x: Array2<T>,
    pub y: Array2<T>,
    labels: Option<Vec<usize>>,
    k: usize,
    seed: u64,
    neighbours: [OnceCell<Neighbours>; 2],
    graphs: [OnceCell<NeighbourGraph>; 2],
    cka_linear: OnceCell<Cka>,
    cka_rbf: OnceCell<Cka>,
    mmd: OnceCell<Mmd>,
    local: OnceCell<LocalCovariances>,
    persistence: [OnceCell<Persistence>; 2],
}

impl<T: Real> CloudPair<T> {
    pub fn new(x: Array2<T>, y: Array2<T>, labels: Option<Vec<usize>>, k: usize, seed: u64) -> Self {
        Self {
            x,
            y,
            labels,
            k,
            seed,
            neighbours: Default::default(),
            graphs: Default::default(),
            cka_linear: OnceCell::new(),
            cka_rbf: OnceCell::new(),
            mmd: OnceCell::new(),
            local: OnceCell::new(),
            persistence: Default::default(),
        }
    }

    /// Returns a sample of at most `rows` rows of each cloud; the same rows of both if they are paired.
    pub fn sampled(&self, rows: usize) -> Self {
        let pick = |n: usize, seed: u64| {
            let mut kept = Random::new(seed).permutation(n);
            kept.truncate(rows);
            kept.sort_unstable();
            kept
        };
        let (n, m) = (self.x.nrows(), self.y.nrows());
        let first = pick(n, self.seed);
        let second = if n == m { first.clone() } else { pick(m, self.seed ^ 1) };
        let labels = self.labels.as_ref().map(|labels| first.iter().map(|&i| labels[i]).collect());
        Self::new(self.x.select(Axis(0), &first), self.y.select(Axis(0), &second), labels, self.k, self.seed)
    }

    /// Returns the clouds after a random permutation.
    pub fn shuffled(&self, what: Shuffle, random: &mut Random) -> Self {
        let pair = |x, y, labels| Self::new(x, y, labels, self.k, self.seed);
        match what {
            Shuffle::Pairs => {
                let order = random.permutation(self.y.nrows());
                let shuffled = pair(self.x.clone(), self.y.select(Axis(0), &order), self.labels.clone());
                let keep = |known: &OnceCell<Neighbours>, moved: Option<Neighbours>| {
                    moved.or(known.get().cloned()).map(OnceCell::from).unwrap_or_default()
                };
                let [first, second] = &self.neighbours;
                let neighbours = [keep(first, None), keep(second, second.get().map(|n| n.reordered(&order)))];
                let [first, second] = &self.graphs;
                let graphs = [
                    first.get().cloned().map(OnceCell::from).unwrap_or_default(),
                    second.get().map(|g| OnceCell::from(g.reordered(&order))).unwrap_or_default(),
                ];
                Self { neighbours, graphs, ..shuffled }
            }
            Shuffle::Membership if self.is_paired() => {
                let (mut x, mut y) = (self.x.clone(), self.y.clone());
                for (mut first, mut second) in x.rows_mut().into_iter().zip(y.rows_mut()) {
                    if random.uniform() < 0.5 {
                        Zip::from(&mut first).and(&mut second).for_each(std::mem::swap);
                    }
                }
                pair(x, y, None)
            }
            Shuffle::Membership => {
                let all = concatenate![Axis(0), self.x.view(), self.y.view()];
                let order = random.permutation(all.nrows());
                let (first, second) = order.split_at(self.x.nrows());
                pair(all.select(Axis(0), first), all.select(Axis(0), second), None)
            }
            Shuffle::Labels => {
                let order = random.permutation(self.x.nrows());
                let labels = self.labels.as_ref().map(|l| order.iter().map(|&i| l[i]).collect());
                pair(self.x.clone(), self.y.clone(), labels)
            }
            Shuffle::Blocks | Shuffle::Nothing => pair(self.x.clone(), self.y.clone(), self.labels.clone()),
        }
    }

    /// Returns whether the rows are paired, as those of clouds with the same number of rows are.
    pub fn is_paired(&self) -> bool {
        self.x.nrows() == self.y.nrows()
    }

    /// Splits the rows of both clouds into `count` blocks each, in a random order that is the same for paired
    /// rows, and returns the blocks of the first cloud, then those of the second. All blocks have the same
    /// size.
    pub fn blocks(&self, count: usize, random: &mut Random) -> Vec<Array2<T>> {
        let first = random.permutation(self.x.nrows());
        let second = if self.is_paired() { first.clone() } else { random.permutation(self.y.nrows()) };
        let size = first.len().min(second.len()) / count;
        let split = |cloud: &Array2<T>, order: &[usize]| -> Vec<Array2<T>> {
            order.chunks_exact(size).take(count).map(|rows| cloud.select(Axis(0), rows)).collect()
        };
        [split(&self.x, &first), split(&self.y, &second)].concat()
    }

    /// Computes a measure.
    pub fn value(&self, measure: &Measure) -> Result<f64> {
        let (x, y) = (self.x.view(), self.y.view());
        match measure.name {
            "cka_linear" => Ok(get(&self.cka_linear, || cka::linear(x, y))?.biased),
            "cka_linear_unbiased" => Ok(get(&self.cka_linear, || cka::linear(x, y))?.unbiased),
            "cka_rbf" => Ok(get(&self.cka_rbf, || cka::rbf(x, y, 1.0))?.biased),
            "cka_rbf_unbiased" => Ok(get(&self.cka_rbf, || cka::rbf(x, y, 1.0))?.unbiased),
            "svcca" => canonical::svcca(x, y, SVCCA_VARIANCE),
            "mutual_knn@" => neighbour_overlap::mutual_knn(self.neighbours(0)?, self.neighbours(1)?),
            "neighbourhood_jaccard@" => {
                neighbour_overlap::neighbourhood_jaccard(self.neighbours(0)?, self.neighbours(1)?)
            }
            "trustworthiness@" => trustworthiness(x, self.neighbours(1)?),
            "continuity@" => trustworthiness(y, self.neighbours(0)?),
            "procrustes_residual" => canonical::procrustes_residual(x, y),
            "w2_exact" => wasserstein::w2_exact(x, y, EXACT_TIME),
            "sinkhorn_divergence" => wasserstein::sinkhorn_divergence(x, y, EPSILON),
            "sliced_w2" => sliced_w2(x, y, directions(x.ncols(), DIRECTIONS, self.seed).view()),
            "bures_w2" => bures_w2(x, y),
            "mmd2_rbf" => Ok(get(&self.mmd, || mmd2_rbf(x, y, None))?.unbiased),
            "mmd2_rbf_biased" => Ok(get(&self.mmd, || mmd2_rbf(x, y, None))?.biased),
            "gw" => wasserstein::gromov_wasserstein(x, y),
            "hausdorff_knn" => hausdorff_knn(self.graph(0)?, self.graph(1)?),
            "geodesic_distortion" => geodesic_distortion(self.graph(0)?, self.graph(1)?),
            "curvature_mismatch" => curvature_mismatch(self.graph(0)?, self.graph(1)?),
            "covariance_log_euclidean" => Ok(self.local()?.log_euclidean),
            "covariance_affine_invariant" => Ok(self.local()?.affine_invariant),
            "persistence_bottleneck_h0" => Ok(bottleneck(&self.persistence(0)?.h0, &self.persistence(1)?.h0)),
            "persistence_bottleneck_h1" => Ok(bottleneck(&self.persistence(0)?.h1, &self.persistence(1)?.h1)),
            "intrinsic_dimension_a" => Ok(dimension::two_nn(self.neighbours(0)?)?.fit),
            "intrinsic_dimension_b" => Ok(dimension::two_nn(self.neighbours(1)?)?.fit),
            "mutual_information_ksg" => self.information(),
            "modality_gap" => modality_gap(x, y),
            "foscttm" => foscttm::foscttm(x, y),
            "silhouette" => self.labelled(clusters::silhouette),
            "nmi" => self.labelled(|all, labels| {
                let found = clusters::k_means(all, clusters::contiguous_labels(labels).1, self.seed)?;
                clusters::nmi(labels, &found)
            }),
            other => {
                let expected = "a measure of the catalogue".into();
                Err(Error::Setting { what: "measure", expected, got: other.to_owned() })
            }
        }
    }

    fn side(&self, side: usize) -> ArrayView2<'_, T> {
        [&self.x, &self.y][side].view()
    }

    fn neighbours(&self, side: usize) -> Result<&Neighbours> {
        get(&self.neighbours[side], || Neighbours::new(self.side(side), self.k, self.seed ^ side as u64))
    }

    fn graph(&self, side: usize) -> Result<&NeighbourGraph> {
        get(&self.graphs[side], || NeighbourGraph::new(self.side(side), self.k, self.seed ^ side as u64))
    }

    fn persistence(&self, side: usize) -> Result<&Persistence> {
        get(&self.persistence[side], || persistence(self.side(side)))
    }

    fn local(&self) -> Result<&LocalCovariances> {
        let near = [self.neighbours(0)?, self.neighbours(1)?];
        get(&self.local, || local_covariances(self.side(0), self.side(1), near[0], near[1], LOCAL_AXES))
    }

    fn information(&self) -> Result<f64> {
        let scores = |side: usize| {
            let cloud = crate::cloud::centred(side, self.side(side), 2)?.rows.mapv(Into::<f64>::into);
            information::principal_coordinates(cloud.view(), COORDINATES)
        };
        information::mutual_information(scores(0)?.view(), scores(1)?.view(), self.k)
    }

    /// Computes a measure of the union of both clouds with the labels of its rows.
    fn labelled(&self, measure: impl Fn(ArrayView2<'_, T>, &[usize]) -> Result<f64>) -> Result<f64> {
        let labels = self.labels.as_deref().ok_or(Error::NoSpread(NAMES[0]))?;
        let all = concatenate![Axis(0), self.x.view(), self.y.view()];
        measure(all.view(), &[labels, labels].concat())
    }
}

/// Returns the value of the cell, computing it on the first call.
fn get<V>(cell: &OnceCell<V>, make: impl FnOnce() -> Result<V>) -> Result<&V> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
