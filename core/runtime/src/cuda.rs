//! Finds the NVIDIA libraries that ONNX Runtime's CUDA build needs, and says what to install when some are
//! missing.
//!
//! The wheel names them in its extras `cuda` and `cudnn`. They are searched in `CHIASM_CUDA_DIR`, in the
//! `nvidia` packages of the Python environments, in the CUDA toolkit and in the system's folders, and
//! loaded before the provider, so that no `LD_LIBRARY_PATH` is needed.

use std::path::{Path, PathBuf};

use ort::ep::cuda::{CUDA_DYLIBS, CUDNN_DYLIBS};

use crate::discover::system_folders;
use crate::python::{self, site_packages};

/// The variable that names a folder of CUDA and cuDNN libraries.
pub const CUDA_FOLDER_VARIABLE: &str = "CHIASM_CUDA_DIR";

/// The driver's library. It is part of the driver; no package has it.
const DRIVER: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// The package of each library, by a part of the library's name; the versions are those that the wheel
/// requires.
const PACKAGES: &[(&str, &str)] = &[
    ("cudnn", "nvidia-cudnn-cu13~=9.0"),
    ("cublas", "nvidia-cublas~=13.0"),
    ("cufft", "nvidia-cufft~=12.0"),
    ("curand", "nvidia-curand~=10.0"),
    ("nvrtc", "nvidia-cuda-nvrtc~=13.0"),
    ("cudart", "nvidia-cuda-runtime~=13.0"),
];

/// The CUDA libraries that were found, and those that are missing.
#[derive(Debug, Clone)]
pub struct CudaLibraries {
    /// The paths found, in the order in which they must be loaded.
    pub found: Vec<PathBuf>,
    /// The names of those that were found nowhere.
    pub missing: Vec<&'static str>,
    /// Whether the NVIDIA driver's library was found.
    pub driver: bool,
}

impl CudaLibraries {
    /// Searches every usual place of this machine.
    pub fn search() -> Self {
        let mut driver = system_folders();
        driver.push(PathBuf::from("C:\\Windows\\System32"));
        Self::in_folders(&folders(), &driver)
    }

    /// Searches the given folders only.
    pub fn in_folders(folders: &[PathBuf], driver_folders: &[PathBuf]) -> Self {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in CUDA_DYLIBS.iter().chain(CUDNN_DYLIBS) {
            match folders.iter().map(|f| f.join(name)).find(|p| p.is_file()) {
                Some(path) => found.push(path),
                None => missing.push(*name),
            }
        }
        Self { found, missing, driver: driver_folders.iter().any(|f| f.join(DRIVER).is_file()) }
    }

    /// Says what is missing and how to supply it; `None` when nothing is missing.
    pub fn missing_message(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            let packages: Vec<String> = PACKAGES
                .iter()
                .filter(|(part, _)| self.missing.iter().any(|m| m.contains(part)))
                .map(|(_, package)| format!("\"{package}\""))
                .collect();
            parts.push(format!(
                "these CUDA 13 and cuDNN 9 libraries were not found: {}. Supply them with `python3 -m pip \
                 install {}`, or \
                 name their folder with {CUDA_FOLDER_VARIABLE}",
                self.missing.join(", "),
                packages.join(" ")
            ));
        }
        if !self.driver {
            parts.push(format!("the NVIDIA driver's {DRIVER} was not found in the system's library folders"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Loads the libraries found, so that the provider's own search finds them loaded.
    ///
    /// A library that does not load is ignored here: the provider's error says more about it.
    pub(crate) fn preload(&self) {
        for path in &self.found {
            let _ = ort::util::preload_dylib(path.as_path());
        }
    }
}

fn folders() -> Vec<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut folders = Vec::new();
    for root in [CUDA_FOLDER_VARIABLE, "CUDA_PATH", "CUDA_HOME"].into_iter().filter_map(var) {
        folders.extend(["", "lib64", "lib", "bin"].map(|sub| root.join(sub)));
        folders.extend(nvidia_packages(&root));
    }
    let sites = python::environments().into_iter().flat_map(|(_, prefix)| site_packages(&prefix));
    folders.extend(sites.flat_map(|site| nvidia_packages(&site.join("nvidia"))));
    folders.push(PathBuf::from("/usr/local/cuda/lib64"));
    folders.extend(system_folders());
    folders
}

/// The library folders of the `nvidia` Python packages: `nvidia/cu13/lib`, `nvidia/cudnn/lib`, ...
fn nvidia_packages(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mut packages: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    packages.sort();
    packages.iter().flat_map(|p| [p.join("lib"), p.join("bin")]).filter(|p| p.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_package_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in CUDA_DYLIBS.iter().filter(|n| !n.contains("cufft")) {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let folders = [dir.path().to_owned()];
        let missing_message = CudaLibraries::in_folders(&folders, &[]).missing_message().unwrap();
        assert!(
            missing_message.contains("nvidia-cufft~=12.0")
                && missing_message.contains("nvidia-cudnn-cu13~=9.0")
        );
        assert!(!missing_message.contains("nvidia-cublas"), "{missing_message}");
        assert!(missing_message.contains("driver"), "{missing_message}");

        for name in CUDA_DYLIBS.iter().chain(CUDNN_DYLIBS).chain([&DRIVER]) {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(CudaLibraries::in_folders(&folders, &folders).missing_message(), None);
    }
}
