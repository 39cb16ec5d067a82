//! Scores of predictions compared with scikit-learn (see reference/make_retrieval.py).
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

use chiasm_geometry::scores::{
    ConfusionCounts, accuracy, macro_f1, macro_roc_auc, mean_absolute_error, micro_f1, r2, roc_auc,
    roc_auc_one_vs_rest,
};
use ndarray::{Array2, array};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn cases() -> Value {
    let cases: Value = serde_json::from_str(include_str!("reference/retrieval.json")).unwrap();
    cases["tasks"].clone()
}

fn table<T: DeserializeOwned + Clone>(value: &Value) -> Array2<T> {
    let rows: Vec<Vec<T>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn classes(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The tolerance allows for sums of a few dozen numbers.
fn close(got: f64, want: &Value) {
    assert!((got - want.as_f64().unwrap()).abs() < 1e-12, "{got}, expected {want}");
}

/// The fifth class is predicted but does not occur.
#[test]
fn classification_scores_agree_with_scikit_learn() {
    let c = cases();
    let (truth, said) = (classes(&c["truth"]), classes(&c["said"]));
    close(accuracy(&truth, &said).unwrap(), &c["accuracy"]);
    let counts = ConfusionCounts::per_class(&truth, &said).unwrap();
    close(macro_f1(&counts), &c["macro_f1"]);
    close(micro_f1(&counts), &c["micro_f1"]);
    let probability = table::<f32>(&c["probability"]);
    close(roc_auc_one_vs_rest(&truth, probability.view()).unwrap().unwrap(), &c["auc_ovr"]);
}

/// The fifth label neither occurs nor is predicted: its F1 is zero, and its ROC area undefined.
#[test]
fn multi_label_scores_agree_with_scikit_learn() {
    let c = cases();
    let (hold, marked, logits) =
        (table::<bool>(&c["hold"]), table::<bool>(&c["marked"]), table(&c["logits"]));
    let counts = ConfusionCounts::per_label(hold.view(), marked.view()).unwrap();
    close(macro_f1(&counts), &c["label_macro_f1"]);
    close(micro_f1(&counts), &c["label_micro_f1"]);
    let areas: Vec<f64> = serde_json::from_value(c["label_auc"].clone()).unwrap();
    for (column, &area) in areas.iter().enumerate() {
        let (truth, scores) = (hold.column(column).to_vec(), logits.column(column).to_vec());
        close(roc_auc(&truth, &scores).unwrap().unwrap(), &area.into());
    }
    let mean = areas.iter().sum::<f64>() / areas.len() as f64;
    close(macro_roc_auc(hold.view(), logits.view()).unwrap().unwrap(), &mean.into());
}

/// The third column is constant and not predicted exactly: its R2 is 0.
#[test]
fn regression_scores_agree_with_scikit_learn() {
    let c = cases();
    let (truth, said) = (table::<f32>(&c["numbers"]), table::<f32>(&c["guesses"]));
    close(mean_absolute_error(truth.view(), said.view()).unwrap(), &c["mae"]);
    close(r2(truth.view(), said.view()).unwrap().unwrap(), &c["r2"]);
}

#[test]
fn undefined_scores_are_none_or_an_error() {
    assert_eq!(roc_auc(&[true, true], &[0.1, 0.2]).unwrap(), None);
    assert_eq!(roc_auc(&[true, false], &[0.0, -0.0]).unwrap(), Some(0.5));
    assert!(roc_auc(&[true, false], &[0.1, f32::NAN]).is_err());
    assert_eq!(macro_roc_auc(array![[true], [true]].view(), array![[0.1], [0.2]].view()).unwrap(), None);
    assert!(roc_auc_one_vs_rest(&[0, 2], Array2::zeros((2, 2)).view()).is_err());
    assert_eq!(r2(array![[1.0]].view(), array![[1.0]].view()).unwrap(), None);
    assert_eq!(r2(array![[1.0], [1.0]].view(), array![[1.0], [1.0]].view()).unwrap(), Some(1.0));
    assert!(mean_absolute_error(array![[1.0]].view(), array![[f32::NAN]].view()).is_err());
    assert!(accuracy(&[], &[]).is_err() && accuracy(&[1], &[1, 2]).is_err());
}
