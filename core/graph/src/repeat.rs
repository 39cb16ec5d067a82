//! Repeating a part of a graph a fixed number of times.

use onnx_protobuf::{AttributeProto, GraphProto, ValueInfoProto, attribute_proto::AttributeType, type_proto};

use crate::{Builder, DType, Port, Value};

impl Builder {
    /// Repeats `step` a number of times, as one `Loop` node, and returns the last state.
    ///
    /// `step` gets the state and returns the next one, of the same shapes; every part is `f32`. It may use
    /// any value that exists before. No derivative passes through: the result counts as a constant.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType, Dim};
    /// let mut b = Builder::new("root");
    /// let x = b.input("x", DType::F32, &[Dim::named("n")])?;
    /// // Heron's method for the square root: y <- (y + x / y) / 2
    /// let root = b.repeat(6, &[&x], |b, state| {
    ///     let quotient = b.div(&x, &state[0]);
    ///     let sum = b.add(&state[0], &quotient);
    ///     vec![b.mul_scalar(&sum, 0.5)]
    /// });
    /// b.output("root", &root[0], DType::F32, &[Dim::named("n")]);
    /// assert!(b.finish().is_ok());
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    pub fn repeat(
        &mut self,
        times: usize,
        state: &[&Value],
        step: impl FnOnce(&mut Self, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let before = self.nodes().len();
        let names = ["iteration", "condition"].map(|name| self.unique(name));
        let current: Vec<Value> = state.iter().map(|_| Value::named(&self.unique("state"))).collect();
        let next = step(self, &current);
        let condition = Value::named(&names[1]);
        let condition = self.identity(&condition);
        let nodes = self.graph.node.split_off(before);
        let info = |name: &str, dtype: DType, scalar: bool| {
            let mut info: ValueInfoProto = Port::new(name, dtype, &[]).to_proto();
            if let (false, Some(type_proto::Value::TensorType(tensor))) =
                (scalar, info.type_.as_mut().and_then(|kind| kind.value.as_mut()))
            {
                tensor.shape = None.into();
            }
            info
        };
        let states = |values: &[Value]| -> Vec<ValueInfoProto> {
            values.iter().map(|value| info(value.name(), DType::F32, false)).collect()
        };
        let mut input = vec![info(&names[0], DType::I64, true), info(&names[1], DType::Bool, true)];
        input.extend(states(&current));
        let mut output = vec![info(condition.name(), DType::Bool, true)];
        output.extend(states(&next));
        let body = GraphProto { name: "step".to_owned(), node: nodes, input, output, ..Default::default() };
        let count = self.ints("times", &[i64::try_from(times).unwrap_or(i64::MAX)]);
        let count = self.squeeze(&count, &[0]);
        let mut inputs = vec![count, Value::none()];
        inputs.extend(state.iter().map(|value| (*value).clone()));
        let looped = self.op_several("Loop", &inputs.iter().collect::<Vec<_>>(), &[], state.len());
        if let Some(node) = self.graph.node.last_mut() {
            node.attribute.push(AttributeProto {
                name: "body".to_owned(),
                type_: AttributeType::GRAPH.into(),
                g: Some(body).into(),
                ..Default::default()
            });
        }
        // A loop may change the shape of its state; here it does not, and derivatives need to know the shape.
        let results = looped.iter().zip(state).map(|(value, first)| {
            let shape = self.shape(first);
            let value = self.reshape_to(value, &shape);
            self.stop_gradient(&value)
        });
        results.collect()
    }
}
