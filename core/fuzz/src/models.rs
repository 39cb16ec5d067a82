//! Models, with weights in a file beside them.

use crate::{
    scratch,
    seeds::{self, Seeds},
};
use chiasm_graph::Graph;

/// The input is the length of the weights' file in two bytes, that file, and the model. Of length 0, there is
/// no such file. A model that is read can be written and read again.
pub(crate) fn run(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (weights, model) = rest.split_at(length);
    let graph = match weights {
        [] => Graph::from_bytes(model),
        _ => {
            let loaded = scratch::with_file("models/m.onnx.data", weights, |_| {
                scratch::with_file("models/m.onnx", model, |path| Graph::load(path))
            });
            let Some(Some(loaded)) = loaded else { return };
            loaded
        }
    };
    let Ok(graph) = graph else { return };
    let sound = graph.verify().is_ok();
    let _ = (graph.verify_learned().is_ok(), graph.to_text(), graph.weight_hashes());
    let Ok(written) = graph.to_bytes() else { return };
    match Graph::from_bytes(&written) {
        Ok(again) => assert_eq!(again.verify().is_ok(), sound, "writing a model changes whether it is valid"),
        Err(error) => unreachable!("a model that was read is refused after it was written: {error}"),
    }
}

pub(crate) fn seeds() -> Seeds {
    let mut made = Vec::new();
    for graph in seeds::graphs()? {
        made.push([&[0, 0][..], &graph.to_bytes()?].concat());
        let here = tempfile::tempdir()?;
        let files = graph.save_split(here.path().join("m.onnx"), 0)?;
        if let Some(data) = files.data {
            let data = std::fs::read(data)?;
            let length = u16::try_from(data.len())?.to_le_bytes();
            made.push([&length[..], &data, &std::fs::read(files.model)?].concat());
        }
    }
    Ok(made)
}
