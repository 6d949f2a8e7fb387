//! Reads folders for the tests of this crate.

use std::{fs, path::Path};

use plan::SourceFile;

/// Every file below a folder, by its path from there.
pub fn folder(root: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    walk(root, root, &mut files);
    files
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push(SourceFile { path: name, bytes: fs::read(&path).unwrap().into() });
        }
    }
}
