//! Free axes of two graphs that are joined: which have equal lengths, and their names in the joined graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onnx_protobuf::GraphProto;

use crate::{Dim, walk};

/// A free axis: whether it is of the next graph (else of the first), and its name there.
type SidedAxis = (bool, String);

/// The new length or name of each free axis of one graph.
pub(crate) type RenamedAxes = HashMap<String, Dim>;

/// The free axes of two graphs in groups of equal length.
pub(crate) struct AxisGroups {
    /// The group number of each axis.
    groups: BTreeMap<SidedAxis, usize>,
    /// The length of each group that is linked to a fixed axis.
    fixed: HashMap<usize, usize>,
}

impl AxisGroups {
    /// Puts every axis into a group of its own.
    pub(crate) fn new(first: &GraphProto, next: &GraphProto) -> Self {
        let mut axes = BTreeSet::new();
        for (side, graph) in [(false, first), (true, next)] {
            walk::dim_names(graph, &mut |name| {
                axes.insert((side, name.to_owned()));
            });
        }
        let groups = axes.into_iter().enumerate().map(|(number, axis)| (axis, number)).collect();
        Self { groups, fixed: HashMap::new() }
    }

    /// Makes the axes of a port of the first graph equal to those of a port of the next; an error if they
    /// cannot be equal.
    pub(crate) fn equate(&mut self, first: &[Dim], next: &[Dim]) -> Result<(), String> {
        if first.len() != next.len() {
            return Err(format!(
                "they have {} and {} axes, expected the same number",
                first.len(),
                next.len()
            ));
        }
        for (axis, (a, b)) in first.iter().zip(next).enumerate() {
            let failed = |one: usize, other: usize| format!("axis {axis} is {one} long and {other} long");
            match (a, b) {
                (Dim::Fixed(one), Dim::Fixed(other)) if one != other => return Err(failed(*one, *other)),
                (Dim::Named(name), Dim::Fixed(length)) => {
                    self.fix((false, name.clone()), *length, &failed)?
                }
                (Dim::Fixed(length), Dim::Named(name)) => self.fix((true, name.clone()), *length, &failed)?,
                (Dim::Named(one), Dim::Named(other)) => {
                    self.join((false, one.clone()), (true, other.clone()), &failed)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The new name or length of every axis that changes, for the first graph and the next.
    ///
    /// A group gets the name with the fewest prefixes; among those, a name of the first graph. A number is
    /// appended to names that several groups would have.
    pub(crate) fn names(self) -> (RenamedAxes, RenamedAxes) {
        let mut members: BTreeMap<usize, Vec<&SidedAxis>> = BTreeMap::new();
        for (axis, group) in &self.groups {
            members.entry(*group).or_default().push(axis);
        }
        // Groups of the first graph come first, so that its names change only where a link requires it.
        let mut order: Vec<(&usize, &Vec<&SidedAxis>)> = members.iter().collect();
        order.sort_by_key(|(_, axes)| axes.iter().all(|(side, _)| *side));
        let mut used = std::collections::HashSet::new();
        let (mut first, mut next) = (RenamedAxes::new(), RenamedAxes::new());
        for (group, axes) in order {
            let best = axes.iter().min_by_key(|(side, name)| (name.matches('/').count(), *side, name));
            let Some((_, name)) = best else { continue };
            let dim = match self.fixed.get(group) {
                Some(length) => Dim::Fixed(*length),
                None => {
                    let name = crate::rename::free_name(name, &used);
                    used.insert(name.clone());
                    Dim::Named(name)
                }
            };
            for (side, name) in axes {
                let map = if *side { &mut next } else { &mut first };
                map.insert(name.clone(), dim.clone());
            }
        }
        (first, next)
    }

    fn fix(
        &mut self,
        axis: SidedAxis,
        length: usize,
        failed: &dyn Fn(usize, usize) -> String,
    ) -> Result<(), String> {
        let Some(group) = self.groups.get(&axis) else { return Ok(()) };
        match self.fixed.insert(*group, length) {
            Some(other) if other != length => Err(failed(other, length)),
            _ => Ok(()),
        }
    }

    fn join(
        &mut self,
        a: SidedAxis,
        b: SidedAxis,
        failed: &dyn Fn(usize, usize) -> String,
    ) -> Result<(), String> {
        let (Some(&kept), Some(&gone)) = (self.groups.get(&a), self.groups.get(&b)) else { return Ok(()) };
        if kept == gone {
            return Ok(());
        }
        self.groups.values_mut().filter(|group| **group == gone).for_each(|group| *group = kept);
        match self.fixed.remove(&gone) {
            Some(length) => self.fix(a, length, failed),
            None => Ok(()),
        }
    }
}
