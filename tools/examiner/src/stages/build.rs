//! The programs of the book, built: every stage and every solution of an exercise.
//!
//! They are built into a target folder of their own, `target/stages`. Cargo unifies the features of
//! the packages that one command selects, so `target/debug` may hold two builds of one dependency,
//! and a compiler that looks for libraries there refuses to choose (E0464). This folder is only ever
//! built one way, so it holds one build of each, and the tests can hand it to `rustdoc`.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use cargo_metadata::{Artifact, Message};

use super::{Program, list, root};
use crate::Error;

/// The built programs, and the folder of the libraries that they are linked with.
#[derive(Debug)]
pub struct Stages {
    programs: BTreeMap<String, PathBuf>,
    deps: PathBuf,
}

impl Stages {
    /// The executable of a stage, or of a solution or an alternative: `04-broker`, for example.
    ///
    /// # Errors
    ///
    /// When there is none; the error names those that there are.
    pub fn program(&self, name: &str) -> Result<&Path, Error> {
        find(&self.programs, name)
    }

    /// The folder that `rustdoc -L` and `mdbook test -L` need: one build of each dependency.
    pub fn deps(&self) -> &Path {
        &self.deps
    }
}

/// The Cargo that runs us; without one, the Cargo that built us.
pub fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into())
}

/// Builds every program of the book, once in this process; Cargo's progress goes to stderr.
///
/// # Errors
///
/// When they do not build, or the folder cannot be written.
pub fn build() -> Result<&'static Stages, Error> {
    static STAGES: OnceLock<Result<Stages, Error>> = OnceLock::new();
    let stages = STAGES.get_or_init(|| build_in(&target()));
    stages.as_ref().map_err(Error::clone)
}

/// Builds these programs with optimisation, and returns their executables in this order; Cargo's progress
/// goes to stderr.
///
/// # Errors
///
/// When one of them is no server that Cargo builds; the error names those. And as [`build`].
pub fn build_release(names: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let is_ours = |program: &&Program| !program.is_client && program.command.is_empty();
    let servers: Vec<&Program> = list()?.programs().filter(is_ours).collect();
    let mut arguments = vec!["--release"];
    for name in names {
        let program = servers.iter().find(|program| program.name == *name);
        let program = program.ok_or_else(|| {
            Error::unknown("server", name, servers.iter().map(|server| &*server.name))
        })?;
        let kind = if program.is_stage() { "--bin" } else { "--example" };
        arguments.extend([kind, name]);
    }
    let target = target();
    let _lock = lock(&target)?;
    let built = executables(&cargo_build(&target, &arguments)?);
    let paths = names.iter().map(|name| Ok(find(&built, name)?.to_path_buf()));
    paths.collect()
}

fn target() -> PathBuf {
    root().join("target").join("stages")
}

fn build_in(target: &Path) -> Result<Stages, Error> {
    let _lock = lock(target)?;
    let artifacts = cargo_build(target, &["--bins", "--examples"])?;
    let files: HashSet<PathBuf> = artifacts
        .iter()
        .flat_map(|artifact| artifact.filenames.iter().map(PathBuf::from))
        .collect();
    let library = files
        .iter()
        .find(|file| file.extension().is_some_and(|end| end == "rlib"));
    let deps = library.and_then(|file| file.parent()).ok_or_else(|| {
        Error::Build("Cargo has built the programs of the book without a single library".into())
    })?;
    remove_others(deps, &files)
        .map_err(|error| Error::io(format!("cannot tidy {}", deps.display()), error))?;
    Ok(Stages {
        programs: executables(&artifacts),
        deps: deps.to_path_buf(),
    })
}

/// Builds programs of the package `code`, and returns what Cargo says of each artifact.
fn cargo_build(target: &Path, arguments: &[&str]) -> Result<Vec<Artifact>, Error> {
    let cargo = cargo();
    let output = Command::new(&cargo)
        .args(["build", "--package", "code"])
        .args(arguments)
        .arg("--target-dir")
        .arg(target)
        .arg("--message-format=json-render-diagnostics")
        // A reader may have told Cargo to keep what is not a program elsewhere, with that of other projects.
        .env("CARGO_BUILD_BUILD_DIR", target)
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Error::io(format!("cannot run {}", cargo.display()), error))?;
    if !output.status.success() {
        return Err(Error::Build(format!(
            "the programs of the book do not build ({}); `cargo build --package code {}` shows why",
            output.status,
            arguments.join(" ")
        )));
    }
    let messages = Message::parse_stream(&output.stdout[..]);
    let artifacts = messages.filter_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) => Some(Ok(artifact)),
        Ok(_) => None,
        Err(error) => Some(Err(Error::io("cannot understand Cargo", error))),
    });
    artifacts.collect()
}

/// Keeps a second process, a test beside `cargo run -- check`, from building and tidying in between.
fn lock(target: &Path) -> Result<File, Error> {
    let lock = || {
        fs::create_dir_all(target)?;
        let file = File::create(target.join("lock"))?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error: io::Error| {
        Error::io(format!("cannot lock the folder {}", target.display()), error)
    })
}

/// Removes the libraries of earlier builds: another `Cargo.lock`, another compiler, other flags.
fn remove_others(deps: &Path, ours: &HashSet<PathBuf>) -> io::Result<()> {
    const LIBRARIES: [&str; 5] = ["rlib", "rmeta", "so", "dylib", "dll"];
    for entry in fs::read_dir(deps)? {
        let file = entry?.path();
        let is_library = |end: &std::ffi::OsStr| LIBRARIES.iter().any(|library| end == *library);
        if file.extension().is_some_and(is_library) && !ours.contains(&file) {
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

fn executables(artifacts: &[Artifact]) -> BTreeMap<String, PathBuf> {
    let executable = |artifact: &Artifact| {
        let file = artifact.executable.clone()?;
        Some((artifact.target.name.clone(), file.into_std_path_buf()))
    };
    artifacts.iter().filter_map(executable).collect()
}

fn find<'a>(programs: &'a BTreeMap<String, PathBuf>, name: &str) -> Result<&'a Path, Error> {
    let found = programs.get(name).map(PathBuf::as_path);
    found.ok_or_else(|| Error::unknown("program", name, programs.keys().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_built_and_an_unknown_one_is_answered_with_the_list() {
        let stages = build().unwrap();
        assert!(stages.program("01-accept").unwrap().is_file());
        let error = stages.program("04-brokre").unwrap_err().to_string();
        assert!(
            error.starts_with("there is no program named 04-brokre; there are: 01-accept, 01-count,"),
            "{error}"
        );
    }

    #[test]
    fn each_dependency_has_one_build() {
        let deps = build().unwrap().deps();
        let libraries: Vec<String> = fs::read_dir(deps)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("libasync_std-") && name.ends_with(".rlib"))
            .collect();
        assert_eq!(libraries.len(), 1, "{libraries:?}");
    }

    #[test]
    fn libraries_of_earlier_builds_are_removed() {
        let folder = env::temp_dir().join(format!("stages-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let names = [
            "libours-1.rlib",
            "libstale-2.rlib",
            "libstale-2.rmeta",
            "notes.d",
        ];
        for name in names {
            fs::write(folder.join(name), "").unwrap();
        }
        remove_others(&folder, &HashSet::from([folder.join(names[0])])).unwrap();
        let left: Vec<bool> = names
            .iter()
            .map(|name| folder.join(name).exists())
            .collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, [true, false, false, true]);
    }
}
