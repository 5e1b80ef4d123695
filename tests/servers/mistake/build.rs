//! Builds the servers with mistakes: all those of a stage are one program, which is each of them under
//! another name. So a compiler starts and links once for a stage, and not at all for one that is unchanged.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    thread,
};

use examiner::stages::{self, Program};

use super::patch::Patch;
use crate::common::{Book, Result, files, message};

/// The libraries of the stages.
const EXTERN: [&str; 6] = [
    "async_std",
    "clap",
    "ctrlc",
    "futures",
    "socket2",
    "unicode_normalization",
];

/// Compilers that run at once.
const COMPILERS: usize = 2;

/// Builds those of all stages. What does not build is reported by its trial.
pub(super) fn all(stages: &[Arc<Servers>]) {
    thread::scope(|scope| {
        for number in 0..COMPILERS {
            let stages = stages.iter().skip(number).step_by(COMPILERS);
            scope.spawn(|| {
                stages.for_each(|servers| {
                    servers.built();
                })
            });
        }
    });
}

/// The servers with a mistake of one stage.
pub(super) struct Servers {
    /// Where they and their sources are.
    folder: PathBuf,
    /// The folder of the libraries that the stages are linked with.
    deps: PathBuf,
    /// The name and the program of each patch, or why there is none.
    sources: Vec<(String, Result<String>)>,
    built: OnceLock<Result<()>>,
}

impl Servers {
    pub(super) fn new(book: Book, stage: &Program, patches: &[Patch]) -> Servers {
        let sources = patches
            .iter()
            .map(|patch| (patch.name.clone(), patch.source()));
        Servers {
            folder: stages::root().join("target/mistakes").join(&stage.name),
            deps: book.stages.deps().to_path_buf(),
            sources: sources.collect(),
            built: OnceLock::new(),
        }
    }

    /// The executable of a patch.
    pub(super) fn program(&self, patch: &Patch) -> Result<PathBuf> {
        for (_, source) in self.sources.iter().filter(|(name, _)| *name == patch.name) {
            source.clone()?;
        }
        match self.built() {
            Ok(()) => Ok(self.executable(&patch.name)),
            Err(error) => {
                let is_wrong = message(error).contains(&format!("{}.rs:", patch.name));
                let why = if is_wrong {
                    message(error)
                } else {
                    "another one of its stage does not"
                };
                Err(format!("{}: its server does not compile: {why}", patch.place).into())
            }
        }
    }

    fn built(&self) -> &Result<()> {
        self.built.get_or_init(|| self.build())
    }

    fn executable(&self, name: &str) -> PathBuf {
        self.folder
            .join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Builds them, unless what is there was made of the same.
    fn build(&self) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let lock = File::create(self.folder.with_extension("lock"))?;
        // Another process may do the same.
        lock.lock()?;
        let (key, kept) = (self.key()?, self.folder.join("key"));
        if fs::read_to_string(&kept).is_ok_and(|kept| kept == key) {
            return Ok(());
        }
        fs::remove_dir_all(&self.folder)?;
        fs::create_dir(&self.folder)?;
        let whole = self.executable("main");
        self.compile(&whole)?;
        for (name, _) in &self.sources {
            fs::hard_link(&whole, self.executable(name))?;
        }
        Ok(fs::write(kept, key)?)
    }

    /// Changes with all that they are made of.
    fn key(&self) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        // How they are compiled.
        include_str!("build.rs").hash(&mut hasher);
        for (name, source) in &self.sources {
            (name, source.as_ref().ok()).hash(&mut hasher);
        }
        // Cargo gives a library another name when its version, its features or the compiler change.
        let is_library = |file: &PathBuf| file.extension() == Some(OsStr::new("rlib"));
        let libraries = files(&self.deps)?.into_iter().filter(is_library);
        libraries.collect::<Vec<_>>().hash(&mut hasher);
        Ok(format!("{:016x}", hasher.finish()))
    }

    fn compile(&self, program: &Path) -> Result<()> {
        let (mut modules, mut arms) = (String::new(), String::new());
        for (number, (name, source)) in self.sources.iter().enumerate() {
            if let Ok(source) = source {
                fs::write(
                    self.folder.join(format!("{name}.rs")),
                    format!("{source}{RUN}"),
                )?;
                modules += &format!("#[path = \"{name}.rs\"]\nmod m{number};\n");
                arms += &format!("        Some(\"{name}\") => m{number}::run(),\n");
            }
        }
        let main = self.folder.join("main.rs");
        fs::write(&main, format!("{modules}{MAIN}{arms}{END}"))?;
        let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "bin",
                "--cap-lints",
                "allow",
            ])
            .args(EXTERN.map(|name| ["--extern", name]).concat())
            .args(["-C", "strip=symbols", "-C", "codegen-units=1", "-L"])
            .arg(&self.deps)
            .arg("-o")
            .args([program, &main])
            .output()
            .map_err(|error| format!("cannot run rustc: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    }
}

/// Makes the `main` of a module callable, whatever it returns.
const RUN: &str = "
pub fn run() -> ::std::process::ExitCode {
    ::std::process::Termination::report(main())
}
";

/// Runs the module that the program is named after.
const MAIN: &str = "
fn main() -> std::process::ExitCode {
    let program = std::env::args().next().unwrap_or_default();
    match std::path::Path::new(&program).file_stem().and_then(|name| name.to_str()) {
";
const END: &str = "        _ => panic!(\"{program} is no server with a mistake\"),\n    }\n}\n";
