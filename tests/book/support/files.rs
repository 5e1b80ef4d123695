//! Folders, files and paths.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The files of a folder with this extension, sorted.
pub(crate) fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    Ok(files)
}

/// All files below a folder, sorted, as paths from the root with `/`; none if there is no such folder.
pub(crate) fn below(root: &Path, folder: &str) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    if root.join(folder).is_dir() {
        for entry in fs::read_dir(root.join(folder))? {
            let entry = entry?;
            let path = format!("{folder}/{}", entry.file_name().display());
            match entry.file_type()?.is_dir() {
                true => files.extend(below(root, &path)?),
                false => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The name of a file without its folder and its ending.
pub(crate) fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

/// Reads a file with the line ends that it has in the repository, whatever Git has checked out.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    let text = fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    Ok(text.replace("\r\n", "\n"))
}

/// A path relative to a folder, from the root.
pub(crate) fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The line, counted from 1, of a byte of a text.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}
