//! The NVIDIA libraries that ONNX Runtime's CUDA build needs: where they are, and what to install when they
//! are not.
//!
//! The wheel names them in its extras `cuda` and `cudnn`. They are looked for in `CHIASM_CUDA_DIR`, in the
//! `nvidia` packages of the active Python environment, in the CUDA toolkit and in the system's folders, and
//! loaded from there beforehand, so that no `LD_LIBRARY_PATH` is needed.

use std::path::{Path, PathBuf};

use ort::ep::cuda::{CUDA_DYLIBS, CUDNN_DYLIBS};

use crate::discover::{ask_python, site_packages, system_folders};

/// The variable that names a folder of CUDA and cuDNN libraries.
pub const CUDA_FOLDER_VARIABLE: &str = "CHIASM_CUDA_DIR";

/// The driver's library: it comes with the driver and with no package.
const DRIVER: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// Which package supplies a library, by a part of its name; the versions are those that the wheel asks for.
const PACKAGES: &[(&str, &str)] = &[
    ("cudnn", "nvidia-cudnn-cu13~=9.0"),
    ("cublas", "nvidia-cublas~=13.0"),
    ("cufft", "nvidia-cufft~=12.0"),
    ("curand", "nvidia-curand~=10.0"),
    ("nvrtc", "nvidia-cuda-nvrtc~=13.0"),
    ("cudart", "nvidia-cuda-runtime~=13.0"),
];

/// The libraries found and those that are missing.
#[derive(Debug, Clone)]
pub struct CudaLibraries {
    /// Found, in the order in which they must be loaded.
    pub found: Vec<PathBuf>,
    /// Not found anywhere.
    pub missing: Vec<&'static str>,
    /// Whether the NVIDIA driver's library is there.
    pub driver: bool,
}

impl CudaLibraries {
    /// Looks in all places of this machine.
    pub fn search() -> Self {
        let mut driver = system_folders();
        driver.push(PathBuf::from("C:\\Windows\\System32"));
        Self::in_folders(&folders(), &driver)
    }

    /// Looks in the given folders alone.
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

    /// What is missing and the command that supplies it; none when all is there.
    pub fn complaint(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            let packages: Vec<String> = PACKAGES
                .iter()
                .filter(|(part, _)| self.missing.iter().any(|m| m.contains(part)))
                .map(|(_, package)| format!("\"{package}\""))
                .collect();
            parts.push(format!(
                "these CUDA 13 and cuDNN 9 libraries were not found: {}. Supply them with `python3 -m pip \
                 install {}`, \
                 or name their folder with {CUDA_FOLDER_VARIABLE}",
                self.missing.join(", "),
                packages.join(" ")
            ));
        }
        if !self.driver {
            parts.push(format!("the NVIDIA driver's {DRIVER} was not found in the system's library folders"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Loads what was found, so that the provider's own search meets it.
    ///
    /// A library that does not load is left to the provider, whose error then says more than this one could.
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
    let prefixes = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(var);
    let mut sites: Vec<PathBuf> = prefixes.flat_map(|p| site_packages(&p)).collect();
    sites.extend(ask_python(Path::new("python3")).unwrap_or_default());
    folders.extend(sites.iter().flat_map(|site| nvidia_packages(&site.join("nvidia"))));
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
        let complaint = CudaLibraries::in_folders(&folders, &[]).complaint().unwrap();
        assert!(complaint.contains("nvidia-cufft~=12.0") && complaint.contains("nvidia-cudnn-cu13~=9.0"));
        assert!(!complaint.contains("nvidia-cublas"), "{complaint}");
        assert!(complaint.contains("driver"), "{complaint}");

        for name in CUDA_DYLIBS.iter().chain(CUDNN_DYLIBS).chain([&DRIVER]) {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(CudaLibraries::in_folders(&folders, &folders).complaint(), None);
    }
}
