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

use serde_json::Value;

/// The built programs, and the folder of the libraries that they are linked with.
#[derive(Debug)]
pub struct Stages {
    programs: BTreeMap<String, PathBuf>,
    examples: BTreeMap<String, PathBuf>,
    deps: PathBuf,
}

impl Stages {
    /// The executable of one stage, `04-broker` for example. The error names the stages there are.
    pub fn program(&self, name: &str) -> Result<&Path, String> {
        find(&self.programs, "stage", name)
    }

    /// The executable of one solution or alternative in `code/examples`.
    pub fn example(&self, name: &str) -> Result<&Path, String> {
        find(&self.examples, "example", name)
    }

    /// The names of all stages, in the order of the book.
    pub fn names(&self) -> Vec<&str> {
        self.programs.keys().map(String::as_str).collect()
    }

    /// The names of those that are servers, in the order of the book.
    pub fn servers(&self) -> Vec<&str> {
        let mut names = self.names();
        names.retain(|name| is_server(name));
        names
    }

    /// The names of all examples, in the order of the book.
    pub fn examples(&self) -> Vec<&str> {
        self.examples.keys().map(String::as_str).collect()
    }

    /// The folder that `rustdoc -L` and `mdbook test -L` need: one build of each dependency.
    pub fn deps(&self) -> &Path {
        &self.deps
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the companion is a folder of the repository")
}

/// Whether this stage is a server.
pub fn is_server(stage: &str) -> bool {
    !stage.ends_with("-client")
}

/// The names of the servers among the stages, in the order of the book. Nothing is built for it.
pub fn server_names() -> Vec<String> {
    servers_in("code/src/bin")
}

/// The names of the servers among the programs of a folder, in the order of the book.
fn servers_in(folder: &str) -> Vec<String> {
    let files = fs::read_dir(root().join(folder)).into_iter().flatten();
    let mut names: Vec<String> = files
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|end| end == "rs"))
        .filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_string()))
        .filter(|name| is_server(name))
        .collect();
    names.sort();
    names
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The classic: nobody is answered but by a peer, `from NAME: TEXT`.
    #[default]
    One,
    /// The server speaks for itself too: `welcome NAME`, `error CODE DETAIL`.
    Two,
}

/// The version of the protocol that a stage speaks, 04-broker for example, or a solution of its
/// exercises.
pub fn version(name: &str) -> Version {
    /// Its chapter begins Part II.
    const FIRST_OF_VERSION_2: &str = "08";
    match name < FIRST_OF_VERSION_2 {
        true => Version::One,
        false => Version::Two,
    }
}

/// The Cargo that runs us; without one, the Cargo that built us.
pub fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into())
}

/// Builds every program of the book, once in this process; Cargo's progress goes to stderr.
pub fn build() -> Result<&'static Stages, String> {
    static STAGES: OnceLock<Result<Stages, String>> = OnceLock::new();
    STAGES
        .get_or_init(|| build_in(&root().join("target").join("stages")))
        .as_ref()
        .map_err(String::clone)
}

/// Builds these stages and examples with optimisation, and returns their executables in this order;
/// Cargo's progress goes to stderr. The error names what there is.
pub fn build_release(names: &[&str]) -> Result<Vec<PathBuf>, String> {
    let kinds = [("--bin", "code/src/bin"), ("--example", "code/examples")];
    let mut arguments = vec!["--release"];
    for name in names {
        let file = format!("{name}.rs");
        let kind = kinds
            .iter()
            .find(|(_, folder)| is_server(name) && root().join(folder).join(&file).is_file());
        let Some((kind, _)) = kind else {
            return Err(format!(
                "there is no server named {name}; there are: {}, {}",
                server_names().join(", "),
                servers_in("code/examples").join(", ")
            ));
        };
        arguments.extend([kind, name]);
    }
    let target = root().join("target").join("stages");
    let _lock = lock(&target)?;
    let artifacts = cargo_build(&target, &arguments)?;
    let mut built = executables(&artifacts, "bin");
    built.extend(executables(&artifacts, "example"));
    names
        .iter()
        .map(|name| find(&built, "program", name).map(Path::to_path_buf))
        .collect()
}

fn build_in(target: &Path) -> Result<Stages, String> {
    let _lock = lock(target)?;
    let artifacts = cargo_build(target, &["--bins", "--examples"])?;
    let deps = artifacts
        .iter()
        .flat_map(files)
        .find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "rlib")
        })
        .and_then(|library| Some(library.parent()?.to_path_buf()))
        .ok_or("Cargo has built the programs of the book without a single library")?;
    remove_others(&deps, &artifacts.iter().flat_map(files).collect())
        .map_err(|error| format!("cannot tidy {}: {error}", deps.display()))?;
    Ok(Stages {
        programs: executables(&artifacts, "bin"),
        examples: executables(&artifacts, "example"),
        deps,
    })
}

/// Builds programs of the package `code`, and returns what Cargo says of each artifact.
fn cargo_build(target: &Path, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let cargo = cargo();
    let output = Command::new(&cargo)
        .args(["build", "--package", "code"])
        .args(arguments)
        .arg("--target-dir")
        .arg(target)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", cargo.display()))?;
    if !output.status.success() {
        return Err(format!(
            "the programs of the book do not build ({}); `cargo build --package code {}` shows why",
            output.status,
            arguments.join(" ")
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|message: &Value| message["reason"] == "compiler-artifact")
        .collect())
}

/// Keeps a second process, a test beside `cargo run -- check`, from building and tidying in between.
fn lock(target: &Path) -> Result<File, String> {
    let lock = || {
        fs::create_dir_all(target)?;
        let file = File::create(target.join("lock"))?;
        file.lock()?;
        Ok(file)
    };
    lock()
        .map_err(|error: io::Error| format!("cannot lock the folder {}: {error}", target.display()))
}

/// Removes the libraries of earlier builds: another `Cargo.lock`, another compiler, other flags.
fn remove_others(deps: &Path, ours: &HashSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(deps)? {
        let file = entry?.path();
        let library = file.extension().is_some_and(|extension| {
            ["rlib", "rmeta", "so", "dylib", "dll"]
                .iter()
                .any(|library| extension == *library)
        });
        if library && !ours.contains(&file) {
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

fn files(artifact: &Value) -> impl Iterator<Item = PathBuf> {
    artifact["filenames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
}

fn executables(artifacts: &[Value], kind: &str) -> BTreeMap<String, PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact["target"]["kind"][0] == kind)
        .filter_map(|artifact| {
            let name = artifact["target"]["name"].as_str()?;
            let file = artifact["executable"].as_str()?;
            Some((name.to_string(), PathBuf::from(file)))
        })
        .collect()
}

fn find<'a>(
    programs: &'a BTreeMap<String, PathBuf>,
    kind: &str,
    name: &str,
) -> Result<&'a Path, String> {
    programs.get(name).map(PathBuf::as_path).ok_or_else(|| {
        let names: Vec<&str> = programs.keys().map(String::as_str).collect();
        format!(
            "there is no {kind} named {name}; there are: {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_built_and_an_unknown_one_is_answered_with_the_list() {
        let stages = build().unwrap();
        assert!(stages.program("01-accept").unwrap().is_file());
        let error = stages.program("04-brokre").unwrap_err();
        assert!(
            error.starts_with("there is no stage named 04-brokre; there are: 01-accept, 02-read,"),
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
