//! Files that tapevault writes about itself: config, completions, man pages.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use clap::CommandFactory;

use crate::{
    cli::{args::Arguments, exit::Exit, say},
    config,
};

/// Writes the commented config, never over another file.
pub(super) fn init(path: &Path) -> Exit {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made.and_then(|mut file| file.write_all(config::commented().as_bytes())) {
        Ok(()) => {
            say::line(&format!("wrote {}: edit it, then run `tapevault check`", path.display()));
            Exit::Done
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            say::trouble(&format!("{} is there already; nothing was written", path.display()));
            Exit::Usage
        }
        Err(error) => {
            say::trouble(&format!("cannot write {}: {error}", path.display()));
            Exit::Storage
        }
    }
}

/// Prints a shell's completions.
pub(super) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tapevault", &mut script);
    say::text(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// Writes a man page for each command into `folder`.
pub(super) fn man(folder: &Path) -> Exit {
    let written = fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    match written {
        Ok(()) => Exit::Done,
        Err(error) => {
            say::trouble(&format!("cannot write man pages into {}: {error}", folder.display()));
            Exit::Storage
        }
    }
}
