//! What ONNX Runtime says about a graph that it refuses or fails on, in this project's words.

/// Returns what is wrong with a graph, from the engine's message about it.
pub(super) fn explained(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    running(&message).or_else(|| loading(&message)).unwrap_or_else(|| without_places(&message))
}

/// Explains a failure while a node runs.
fn running(message: &str) -> Option<String> {
    let operator = between(message, "while running ", " node.")?;
    let node = node(between(message, "Name:'", "'").unwrap_or_default());
    let rest = message.split("Status Message: ").nth(1).unwrap_or_default();
    if let (Some(index), Some(last)) = (between(rest, "idx=", " must"), between(rest, ",", "]")) {
        let last = last.rsplit(',').next().unwrap_or(last);
        let rows = last.parse::<i64>().map_or_else(|_| "fewer".to_owned(), |last| (last + 1).to_string());
        return Some(format!(
            "its {operator} node{node} reads row {index} of a table of {rows}: a text is longer than its \
             table of positions, or the tokenizer has more tokens than its table of tokens"
        ));
    }
    if let (Some(given), Some(wanted)) =
        (between(rest, "Input shape:{", "}"), between(rest, "requested shape:{", "}"))
    {
        return Some(format!(
            "its {operator} node{node} gives a tensor [{given}] the fixed shape [{wanted}]: the graph runs \
             only with the lengths that it was exported with"
        ));
    }
    if let Some(lengths) = rest.split("by a dimension other than 1. ").nth(1) {
        return Some(format!(
            "its {operator} node{node} combines axes of different lengths, {lengths}: the graph runs only \
             with the lengths that it was exported with"
        ));
    }
    Some(format!("its {operator} node{node} fails: {}", without_places(rest)))
}

/// Explains why a graph is refused.
fn loading(message: &str) -> Option<String> {
    let number = |text: &str| text.trim_end_matches('.').to_owned();
    if let Some(version) = between(message, "Unsupported model IR version: ", ",") {
        let most = number(message.split("max supported IR version: ").nth(1)?);
        return Some(format!(
            "its file has the IR version {version}, and this ONNX Runtime reads versions up to {most}"
        ));
    }
    if let Some(opset) = between(message, "versions. Opset ", " is under development") {
        let domain = between(message, "support for domain ", " is till").unwrap_or("ai.onnx");
        let most = number(message.split(" is till opset ").nth(1).unwrap_or_default());
        return Some(format!(
            "it uses operator set {opset} of {domain}, and this ONNX Runtime has operator sets up to {most}"
        ));
    }
    if let Some(operator) = between(message, "Fatal error: ", " is not a registered") {
        let (domain, operator) = operator.rsplit_once(':').unwrap_or(("ai.onnx", operator));
        let operator = operator.split('(').next().unwrap_or(operator);
        return Some(unknown(operator, domain));
    }
    if let Some(domain) = between(message, "No opset import for domain '", "'") {
        return Some(format!("it uses operators of the domain {domain} without stating their version"));
    }
    if let Some(operator) = between(message, "No Op registered for ", " with") {
        return Some(unknown(operator, "ai.onnx"));
    }
    if let Some(operator) = between(message, "find an implementation for ", " node") {
        let node = node(between(message, "with name '", "'").unwrap_or_default());
        let operator = operator.split('(').next().unwrap_or(operator);
        return Some(format!(
            "this ONNX Runtime does not compute its {operator} node{node} for the type of its inputs"
        ));
    }
    if let Some(operator) = between(message, "of Optype (", ")") {
        let node = node(between(message, "in node (", ")").unwrap_or_default());
        return Some(format!("its {operator} node{node} has inputs of different types"));
    }
    let operator = between(message, " Op (", ")")?;
    let node = node(between(message, "Node (", ")").unwrap_or_default());
    let rest = message.split("ShapeInferenceError] ").nth(1).map(without_places).unwrap_or_default();
    Some(format!("its {operator} node{node} has inputs that do not fit each other ({rest})"))
}

fn unknown(operator: &str, domain: &str) -> String {
    format!("it has the operator {operator} of the domain {domain}, which this ONNX Runtime does not know")
}

/// Returns the name of a node for a message, or nothing for a node without one.
fn node(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" `{name}`") }
}

/// Returns the text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}

/// Leaves out the places in the engine's own source, and what was asserted there.
fn without_places(message: &str) -> String {
    let message = message.rsplit(" was false. ").next().unwrap_or(message);
    let place =
        |word: &&str| [".cc:", ".h:", ".cpp:", "onnxruntime::"].iter().any(|mark| word.contains(mark));
    let words: Vec<&str> = message.split(' ').filter(|word| !place(word)).collect();
    words.join(" ").trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::explained;

    /// Messages of ONNX Runtime 1.26 to graphs that were made for this test.
    #[test]
    fn messages_of_the_engine_become_what_is_wrong_with_the_graph() {
        let run = "Non-zero status code returned while running";
        for (message, expected) in [
            (
                format!(
                    "{run} Gather node. Name:'/emb/Gather' Status Message: indices element out of data \
                     bounds, idx=9 must be within the inclusive range [-8,7]"
                ),
                "its Gather node `/emb/Gather` reads row 9 of a table of 8: a text is longer than its table \
                 of positions, or the tokenizer has more tokens than its table of tokens",
            ),
            (
                format!(
                    "{run} Reshape node. Name:'/r' Status Message: /src/reshape_helper.h:91 \
                     onnxruntime::ReshapeHelper::ReshapeHelper(bool) a == b was false. The input tensor \
                     cannot be reshaped to the requested shape. Input shape:{{2,2,4}}, requested \
                     shape:{{1,2,4}}\n"
                ),
                "its Reshape node `/r` gives a tensor [2,2,4] the fixed shape [1,2,4]: the graph runs only \
                 with the lengths that it was exported with",
            ),
            (
                format!(
                    "{run} MatMul node. Name:'' Status Message: matmul_helper.h:59 Compute MatMul dimension \
                     mismatch"
                ),
                "its MatMul node fails: Compute MatMul dimension mismatch",
            ),
            (
                "/src/model.cc:256 onnxruntime::Model::Model(int) Unsupported model IR version: 99, max \
                 supported IR version: 14\n"
                    .to_owned(),
                "its file has the IR version 99, and this ONNX Runtime reads versions up to 14",
            ),
            (
                "stamped with official released onnx opset versions. Opset 99 is under development and \
                 support for this is limited. Current official support for domain ai.onnx is till opset 28.\n"
                    .to_owned(),
                "it uses operator set 99 of ai.onnx, and this ONNX Runtime has operator sets up to 28",
            ),
            (
                "Fatal error: com.acme:Foo(-1) is not a registered function/op".to_owned(),
                "it has the operator Foo of the domain com.acme, which this ONNX Runtime does not know",
            ),
            (
                "Could not find an implementation for Erf(13) node with name '/erf'".to_owned(),
                "this ONNX Runtime does not compute its Erf node `/erf` for the type of its inputs",
            ),
            (
                "Node (/mm) Op (MatMul) [ShapeInferenceError] Incompatible dimensions".to_owned(),
                "its MatMul node `/mm` has inputs that do not fit each other (Incompatible dimensions)",
            ),
        ] {
            assert_eq!(explained(&message), expected);
        }
    }
}
