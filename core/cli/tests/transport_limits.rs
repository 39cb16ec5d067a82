//! `chiasm transport`: where plans are written, and problems whose costs range far.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, npy, peers};
use serde_json::Value;
use std::process::Command;

/// Two files of points, `x.npy` and `y.npy`.
fn clouds() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, phase) in [("x.npy", 0.0), ("y.npy", 1.0)] {
        let values: Vec<f32> = (0..20 * 3).map(|i| (i as f32 * 1.7 + phase).sin()).collect();
        sandbox.write(name, npy(20, 3, &values));
    }
    sandbox
}

fn solve(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let all = [&["transport"][..], arguments, &["--format", "json"]].concat();
    serde_json::from_str(&sandbox.good(&all)).unwrap()
}

/// A plan never replaces a device, what a link points to, or its own input, and nothing is computed first.
#[test]
fn plans_replace_earlier_files_only() {
    let sandbox = clouds();
    let before = std::fs::read(sandbox.path("x.npy")).unwrap();
    let refused = |output: &str, words: &[&str]| {
        sandbox.refused(&["transport", "x.npy", "y.npy", "--solver", "emd", "-o", output], words);
    };
    refused("x.npy", &["-o x.npy", "an input"]);
    refused("./x.npy", &["an input"]);
    refused("/dev/null", &["/dev/null", "not a file"]);
    refused("nowhere/plan.npy", &["nowhere", "folder does not exist"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("y.npy", sandbox.path("link.npy")).unwrap();
        refused("link.npy", &["symbolic link"]);
        sandbox.refused(&["transport", "/dev/zero", "y.npy"], &["/dev/zero", "expected a regular file"]);
    }
    assert_eq!(std::fs::read(sandbox.path("x.npy")).unwrap(), before);
    for _ in 0..2 {
        solve(&sandbox, &["x.npy", "y.npy", "--solver", "emd", "-o", "plan.npy"]);
    }
}

/// Two standard normal clouds with one row of both at 1e5, and costs that forbid entries. The references are
/// those of `ot.sinkhorn` in the log domain, and a linear program over the allowed entries, from the same
/// files.
#[test]
fn far_rows_and_forbidden_entries_give_the_right_cost() {
    let sandbox = clouds();
    let script = "import json, numpy as np
from scipy.optimize import linprog
from scipy.special import logsumexp
rng = np.random.default_rng(5)
x, y = rng.normal(size=(2, 60, 5))
x[4] = y[9] = 1e5
np.save('far-x.npy', x); np.save('far-y.npy', y)
c = ((x[:, None] - y[None]) ** 2).sum(2)
f, g, eps = np.zeros(60), np.zeros(60), 0.5
for _ in range(5000):
    f = -eps * logsumexp((g - c) / eps - np.log(60), axis=1)
    g = -eps * logsumexp((f[:, None] - c) / eps - np.log(60), axis=0)
p = np.exp((f[:, None] + g - c) / eps) / 3600
c = np.round(rng.random((6, 6)) * 9) + 1
c[rng.random((6, 6)) < 0.3] = np.inf
np.fill_diagonal(c, 30)
np.save('c.npy', c); np.save('c32.npy', np.where(np.isinf(c), 1e32, c))
i, j = np.nonzero(np.isfinite(c))
rows = np.zeros((12, len(i)))
rows[i, np.arange(len(i))] = rows[6 + j, np.arange(len(i))] = 1
best = linprog(c[i, j], A_eq=rows, b_eq=np.full(12, 1 / 6)).fun
c[2] = np.inf
np.save('barred.npy', c)
print(json.dumps([(p * ((x[:, None] - y[None]) ** 2).sum(2)).sum(), best]))";
    let made = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let [entropic, best]: [f64; 2] = serde_json::from_slice(&made.stdout).unwrap();
    let report = solve(&sandbox, &["far-x.npy", "far-y.npy", "--eps", "0.5"]);
    let got = report["cost"].as_f64().unwrap();
    assert!((got - entropic).abs() < 1e-4 * entropic, "{entropic}: {report}");
    for costs in ["c.npy", "c32.npy"] {
        let report = solve(&sandbox, &["--solver", "emd", "--cost-matrix", costs]);
        assert!((report["cost"].as_f64().unwrap() - best).abs() < 1e-9, "{best}: {report}");
        assert_eq!(report["stop"], "converged");
    }
    let refused =
        |more: &[&str], words: &[&str]| sandbox.refused(&[&["transport"][..], more].concat(), words);
    refused(&["--solver", "emd", "--cost-matrix", "barred.npy"], &["no plan avoids the forbidden entries"]);
    refused(&["--cost-matrix", "c.npy"], &["c.npy", "infinite cost", "emd"]);
}
