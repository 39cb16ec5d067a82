//! The official builds, each pinned by the sha256 of its archive. To move to another version, change only
//! this file: run the commands of `download` for every row and enter the output of `sha256sum`.

use std::env::consts::{ARCH, OS};

use super::tool::PackageTool;
use crate::{Error, Result};

/// One archive with ONNX Runtime.
#[derive(Debug, Clone)]
pub(super) struct EngineBuild {
    pub package: &'static str,
    pub version: &'static str,
    /// Whether it can use CUDA.
    pub cuda: bool,
    /// pip's name of the platform; unused by npm, whose single archive has all platforms.
    pub platform: &'static str,
    pub sha256: &'static str,
    /// The folder inside the archive that holds the libraries.
    pub inside: &'static str,
}

impl EngineBuild {
    /// Returns the name of its folder in the cache.
    pub fn folder(&self) -> String {
        format!("{}{}", self.version, if self.cuda { "-cuda" } else { "" })
    }
}

const CPU: &str = "onnxruntime";
const GPU: &str = "onnxruntime-gpu";
const WHEEL_VERSION: &str = "1.31.1";

/// (package, system, processor, platform tag, sha256) of each wheel, all for CPython 3.11: the library inside
/// is the same for every Python, and one wheel per platform needs one hash.
const WHEELS: &[(&str, &str, &str, &str, &str)] = &[
    (
        CPU,
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    ),
    (
        CPU,
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    ),
    (
        CPU,
        "macos",
        "aarch64",
        "macosx_14_0_arm64",
        "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
    ),
    (
        CPU,
        "windows",
        "x86_64",
        "win_amd64",
        "c3d91b5de31e2fc82d71bd65b2b22bddee8b49057a3a36338e9a868e0ea90c05",
    ),
    (
        CPU,
        "windows",
        "aarch64",
        "win_arm64",
        "93800007a7023b3ab26ad72e6463d0d57d84ead49a2f6341954d91438e046bc0",
    ),
    (
        GPU,
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    ),
    (
        GPU,
        "windows",
        "x86_64",
        "win_amd64",
        "fd98341ba71c093153f0dcfc53eb69d57f706866fb45e94e5b0cde5d97a50dbf",
    ),
];

/// The newest version on npm, one archive for every platform.
const NODE: EngineBuild = EngineBuild {
    package: "onnxruntime-node",
    version: "1.30.0",
    cuda: false,
    platform: "",
    sha256: "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75",
    inside: "",
};

/// (system, processor, folder) of each platform inside the npm archive.
const NODE_FOLDERS: &[(&str, &str, &str)] = &[
    ("linux", "x86_64", "package/bin/napi-v6/linux/x64/"),
    ("linux", "aarch64", "package/bin/napi-v6/linux/arm64/"),
    ("macos", "aarch64", "package/bin/napi-v6/darwin/arm64/"),
    ("windows", "x86_64", "package/bin/napi-v6/win32/x64/"),
    ("windows", "aarch64", "package/bin/napi-v6/win32/arm64/"),
];

/// Returns the build for this machine that a tool can download.
pub(super) fn find(tool: PackageTool, cuda: bool) -> Result<EngineBuild> {
    let build = match tool {
        PackageTool::Pip | PackageTool::Uv => wheel(if cuda { GPU } else { CPU }, OS, ARCH),
        PackageTool::Npm if cuda => None,
        PackageTool::Npm => node(OS, ARCH),
    };
    build.ok_or_else(|| {
        let kind = if cuda { "CUDA" } else { "CPU" };
        Error::Install(format!(
            "{tool} has no official {kind} build of ONNX Runtime for {OS} {ARCH}; build it from source or \
             take it from your system, and name the library with ORT_DYLIB_PATH"
        ))
    })
}

fn wheel(package: &str, system: &str, processor: &str) -> Option<EngineBuild> {
    let (package, _, _, platform, sha256) =
        WHEELS.iter().find(|w| (w.0, w.1, w.2) == (package, system, processor))?;
    Some(EngineBuild {
        package,
        version: WHEEL_VERSION,
        cuda: *package == GPU,
        platform,
        sha256,
        inside: "onnxruntime/capi/",
    })
}

fn node(system: &str, processor: &str) -> Option<EngineBuild> {
    let (_, _, inside) = NODE_FOLDERS.iter().find(|f| (f.0, f.1) == (system, processor))?;
    Some(EngineBuild { inside, ..NODE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_is_whole_and_every_platform_has_a_cpu_build() {
        for (package, system, processor, _, sha256) in WHEELS {
            assert!(
                sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()),
                "{package} {system}"
            );
            assert!(wheel(CPU, system, processor).is_some());
            assert!(node(system, processor).is_some());
        }
        assert_eq!(NODE.sha256.len(), 64);
        assert!(wheel(GPU, "macos", "aarch64").is_none());
    }

    #[test]
    fn npm_refuses_cuda_and_says_why() {
        let message = find(PackageTool::Npm, true).unwrap_err().to_string();
        assert!(message.contains("npm has no official CUDA build"), "{message}");
    }
}
