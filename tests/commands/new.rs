//! `cargo run -- new`: starts a project of the reader's own.

use std::fs;

use crate::{
    check::{of_project, source},
    program::{Folder, at_once, has},
};

/// Whatever lies around it (fault 34): Cargo looks for a workspace in every folder above a package.
#[test]
fn makes_a_project_that_compiles_and_can_be_examined_wherever_it_is() {
    let around = [
        ("free-chat", None),
        ("member-chat", Some("[workspace]\nmembers = [\"*\"]\n")),
        ("lost-chat", Some("not a manifest\n")),
    ];
    at_once(around, |(name, manifest)| {
        let folder = Folder::empty();
        if let Some(manifest) = manifest {
            folder.write("Cargo.toml", manifest);
        }
        fs::create_dir(folder.path().join("book")).expect("it is new");
        let ready = folder.run(&format!("new book/../{name}")).with(0).stdout;
        assert!(!ready.contains(".."), "{ready}");
        has(
            &folder.read(&format!("{name}/rustfmt.toml")),
            "max_width = 80",
        );
        // Of the book's libraries it has those of the stages, and none of the examples or the tests.
        let manifest = folder.read(&format!("{name}/Cargo.toml"));
        let libraries = manifest
            .split_once("[dependencies]\n")
            .expect("it has some")
            .1;
        let names = libraries.lines().map_while(|line| line.split_once(" = "));
        let names: Vec<_> = names.map(|(name, _)| name).collect();
        let wanted = "async-std clap ctrlc futures socket2 unicode-normalization";
        assert_eq!(names.join(" "), wanted, "{manifest}");
        // It has what the first chapter needs: the chapter's program is built there, and holds.
        folder.write(format!("{name}/src/main.rs"), &source("04-accept"));
        let mut check = of_project(&folder.path().join(name), "check 04-accept");
        has(&check.end().with(0).stdout, "\n04-accept: 1 held\n");
    });
}
