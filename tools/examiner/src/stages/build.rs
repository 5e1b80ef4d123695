//! The programs of the book, built: every stage, solution and alternative in Rust.
//!
//! They have a target folder of their own, `target/stages`, so that nothing here rebuilds the program that runs,
//! or the other way round. And Cargo unifies the features of the packages that a command selects, so
//! `target/debug` may hold two builds of one dependency, and a compiler that looks for libraries there refuses to
//! choose (E0464). This folder is only ever built in one way, so the tests can hand it to `rustdoc`.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use cargo_metadata::{Artifact, Message};

use super::list::{Program, list, root};
use crate::Error;

/// What libraries end in.
const LIBRARIES: [&str; 5] = ["rlib", "rmeta", "so", "dylib", "dll"];

/// The built programs, and the folder of the libraries that they are linked with.
#[derive(Debug)]
pub struct Stages {
    programs: BTreeMap<String, PathBuf>,
    deps: PathBuf,
}

impl Stages {
    /// The executable of a stage, a solution or an alternative: `07-broker`, for example.
    ///
    /// # Errors
    ///
    /// If no program has this name; the error lists the names.
    pub fn program(&self, name: &str) -> Result<&Path, Error> {
        find(&self.programs, name)
    }

    /// The folder that `rustdoc -L` and `mdbook test -L` need: one build of each dependency.
    pub fn deps(&self) -> &Path {
        &self.deps
    }
}

fn find<'a>(programs: &'a BTreeMap<String, PathBuf>, name: &str) -> Result<&'a Path, Error> {
    let found = programs.get(name).map(PathBuf::as_path);
    found.ok_or_else(|| Error::unknown("program", name, programs.keys().map(String::as_str)))
}

/// The Cargo that runs us; without one, the Cargo that built us.
pub fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into())
}

/// Builds every program of the book, once in this process; Cargo's progress goes to stderr.
///
/// # Errors
///
/// If they don't build, or the folder can't be written.
pub fn build() -> Result<&'static Stages, Error> {
    static STAGES: OnceLock<Result<Stages, Error>> = OnceLock::new();
    let stages = STAGES.get_or_init(|| {
        let (_lock, artifacts) = cargo_build(&["--bins", "--examples"])?;
        let files = artifacts.iter().flat_map(|artifact| &artifact.filenames);
        let files: HashSet<&Path> = files.map(|file| file.as_std_path()).collect();
        // The last library is the package's own, which is built for this target even if others are not.
        let mut libraries = artifacts
            .iter()
            .rev()
            .flat_map(|artifact| &artifact.filenames);
        let library = libraries.find(|file| file.extension() == Some("rlib"));
        let deps = library.and_then(|file| file.parent()).ok_or_else(|| {
            Error::Build("Cargo built the programs of the book without a library".into())
        })?;
        let removed = remove_others(deps.as_std_path(), &files);
        removed.map_err(|error| Error::io(format!("cannot tidy {deps}"), error))?;
        Ok(Stages {
            programs: executables(&artifacts),
            deps: deps.into(),
        })
    });
    stages.as_ref().map_err(Error::clone)
}

/// Removes the libraries of earlier builds: with another `Cargo.lock`, another compiler, other flags.
fn remove_others(deps: &Path, ours: &HashSet<&Path>) -> io::Result<()> {
    for entry in fs::read_dir(deps)? {
        let file = entry?.path();
        let end = file.extension().and_then(OsStr::to_str);
        if end.is_some_and(|end| LIBRARIES.contains(&end)) && !ours.contains(file.as_path()) {
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

/// Builds these programs with optimization, and returns their executables in this order.
///
/// # Errors
///
/// If one of them isn't a server that Cargo builds; the error names those. And as [`build`].
pub fn build_release(names: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let is_ours = |program: &&Program| program.is_server() && program.command.is_empty();
    let servers: Vec<&Program> = list()?.programs().filter(is_ours).collect();
    let mut arguments = vec!["--release"];
    for name in names {
        let server = servers.iter().find(|server| server.name == *name);
        let known = servers.iter().map(|server| server.name.as_str());
        let server = server.ok_or_else(|| Error::unknown("server", name, known))?;
        arguments.extend([server.cargo_flag(), name]);
    }
    let (_lock, artifacts) = cargo_build(&arguments)?;
    let built = executables(&artifacts);
    let paths = names
        .iter()
        .map(|name| Ok(find(&built, name)?.to_path_buf()));
    paths.collect()
}

/// Builds programs of the package `code`, and returns what Cargo says of each artifact. As long as the lock is
/// there, no other process builds them: a test beside `cargo run -- check`, for example.
fn cargo_build(arguments: &[&str]) -> Result<(File, Vec<Artifact>), Error> {
    let target = &root().join("target").join("stages");
    let lock = || {
        fs::create_dir_all(target)?;
        let file = File::create(target.join("lock"))?;
        file.lock().map(|()| file)
    };
    let what = || format!("cannot lock the folder {}", target.display());
    let lock = lock().map_err(|error| Error::io(what(), error))?;
    let output = Command::new(cargo())
        .args(["build", "--package", "code"])
        .args(arguments)
        .args(["--message-format=json-render-diagnostics", "--target-dir"])
        .arg(target)
        // A reader may have told Cargo to keep libraries elsewhere, together with those of other projects.
        .env("CARGO_BUILD_BUILD_DIR", target)
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = output.map_err(|error| Error::io("cannot run cargo", error))?;
    if !output.status.success() {
        return Err(Error::Build(format!(
            "the programs of the book do not build ({}); `cargo build --package code {}` shows why",
            output.status,
            arguments.join(" ")
        )));
    }
    let messages: io::Result<Vec<Message>> = Message::parse_stream(&output.stdout[..]).collect();
    let messages = messages.map_err(|error| Error::io("cannot understand cargo", error))?;
    let artifact = |message| match message {
        Message::CompilerArtifact(artifact) => Some(artifact),
        _ => None,
    };
    Ok((lock, messages.into_iter().filter_map(artifact).collect()))
}

fn executables(artifacts: &[Artifact]) -> BTreeMap<String, PathBuf> {
    let executable = |artifact: &Artifact| {
        let file = artifact.executable.clone()?;
        Some((artifact.target.name.clone(), file.into_std_path_buf()))
    };
    artifacts.iter().filter_map(executable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_built_and_an_unknown_one_is_answered_with_the_list() {
        let stages = build().unwrap();
        assert!(stages.program("04-accept").unwrap().is_file());
        let error = stages.program("07-brokre").unwrap_err().to_string();
        let expected = "there is no program named 07-brokre; there are: 02-delay, 02-futures,";
        assert!(error.starts_with(expected), "{error}");
        let is_async_std = |file: &Path| {
            let name = file.file_name().unwrap().to_str().unwrap();
            name.starts_with("libasync_std-") && name.ends_with(".rlib")
        };
        let files = fs::read_dir(stages.deps()).unwrap();
        let libraries = files.filter(|file| is_async_std(&file.as_ref().unwrap().path()));
        assert_eq!(libraries.count(), 1);
    }

    #[test]
    fn libraries_of_earlier_builds_are_removed() {
        let folder = env::temp_dir().join(format!("stages-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let names = [
            "libours-1.rlib",
            "libold-2.rlib",
            "libold-2.rmeta",
            "notes.d",
        ];
        let files = names.map(|name| folder.join(name));
        files.iter().for_each(|file| fs::write(file, "").unwrap());
        remove_others(&folder, &HashSet::from([files[0].as_path()])).unwrap();
        let left = files.map(|file| file.exists());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, [true, false, false, true]);
    }
}
