//! `key`: making, listing, printing, proving and typing in keys.

use std::{
    fs::OpenOptions,
    io::{self, BufRead, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    cli::{args::KeyCommand, bench::Bench, exit::Exit, fail::Failure, say},
    ident::{PoolName, Volser},
    job::JobError,
    keys::{
        DataKey, KeyId, KeyRing, KeySettings, LINES, Owner, StoredKey, Typed, page, page_as_html,
    },
    report::Table,
};

/// How often a line may be mistyped.
const TRIES: u32 = 8;

/// Runs a command about keys.
pub(super) fn run(bench: &Bench, command: &KeyCommand) -> Result<Exit, Failure> {
    let Some(settings) = &bench.settings.keys else {
        let what = "the config has no [keys], so there is nowhere to keep them".to_owned();
        return Err(Failure::Job(JobError::Key { what, cause: None }));
    };
    match command {
        KeyCommand::New { pool, volume } => new(bench, settings, owner(pool, *volume))?,
        KeyCommand::List => list(bench, settings)?,
        KeyCommand::Export { id, to } => export(settings, *id, to.as_deref())?,
        KeyCommand::Prove { id, words } => prove(bench, settings, *id, words)?,
        KeyCommand::Import { pool, volume, id } => {
            import(bench, settings, owner(pool, *volume), *id)?;
        }
    }
    Ok(Exit::Done)
}

fn owner(pool: &PoolName, volume: Option<Volser>) -> Owner {
    match volume {
        Some(volser) => Owner::Volume(pool.clone(), volser),
        None => Owner::Pool(pool.clone()),
    }
}

fn new(bench: &Bench, settings: &KeySettings, owner: Owner) -> Result<(), Failure> {
    known_pool(bench, &owner)?;
    let mut ring = KeyRing::open_or_new(settings)?;
    let id = ring.add(StoredKey::new(DataKey::new(), owner, bench.desk.clock.now()))?;
    tell(bench, id, "made");
    say::aside(&format!(
        "print it with `tapevault key export {id} --to PAGE.html`, then `tapevault key prove {id}`: \
         no volume is begun with it before"
    ));
    Ok(())
}

fn known_pool(bench: &Bench, owner: &Owner) -> Result<(), Failure> {
    let (Owner::Pool(pool) | Owner::Volume(pool, _)) = owner;
    if bench.settings.pools.contains_key(pool) {
        return Ok(());
    }
    Err(Failure::Usage { what: format!("there is no pool {pool} in the config") })
}

fn tell(bench: &Bench, id: KeyId, what: &str) {
    if bench.json {
        say::line(&json!({ "key": id, "state": what }).to_string());
    } else {
        say::line(&format!("key {id} {what}"));
    }
}

fn list(bench: &Bench, settings: &KeySettings) -> Result<(), Failure> {
    let ring = KeyRing::open(settings)?;
    let mut table = Table::new(&["key", "for", "made", "on paper"]);
    for stored in ring.keys() {
        if bench.json {
            let (pool, volume) = match &stored.owner {
                Owner::Pool(pool) => (pool, None),
                Owner::Volume(pool, volser) => (pool, Some(*volser)),
            };
            let row = json!({
                "key": stored.id(),
                "pool": pool,
                "volume": volume,
                "made": stored.made,
                "proven": stored.proven,
            });
            say::line(&row.to_string());
            continue;
        }
        table.row(vec![
            stored.id().to_string(),
            stored.owner.to_string(),
            stored.made.to_string(),
            stored.proven.map_or_else(|| "not proven".into(), |when| format!("proven {when}")),
        ]);
    }
    if !bench.json {
        say::text(&table.to_string());
    }
    Ok(())
}

/// Writes the page: the one place where a key leaves the program.
fn export(settings: &KeySettings, id: KeyId, to: Option<&Path>) -> Result<(), Failure> {
    let ring = KeyRing::open(settings)?;
    let stored = ring.get(id)?;
    let Some(path) = to else {
        say::text(&page(stored));
        return Ok(());
    };
    let is_html = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("html"));
    let text = if is_html { page_as_html(stored) } else { page(stored) };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|cause| JobError::File {
            operation: "write",
            path: Some(path.to_owned()),
            cause,
        })?;
    say::aside(&format!(
        "print {} and delete it, then type back the four words of the page: `tapevault key prove \
         {id}`",
        path.display()
    ));
    Ok(())
}

fn prove(
    bench: &Bench,
    settings: &KeySettings,
    id: KeyId,
    words: &[String],
) -> Result<(), Failure> {
    let mut ring = KeyRing::open(settings)?;
    ring.get(id)?;
    let typed = if words.is_empty() {
        say::aside(&format!("Type the four words that stand behind the lines of key {id}:"));
        line()?
    } else {
        Zeroizing::new(words.join(" "))
    };
    ring.prove(id, &typed, bench.desk.clock.now())?;
    tell(bench, id, "proven");
    Ok(())
}

fn import(
    bench: &Bench,
    settings: &KeySettings,
    owner: Owner,
    id: Option<KeyId>,
) -> Result<(), Failure> {
    known_pool(bench, &owner)?;
    let mut ring = KeyRing::open_or_new(settings)?;
    say::aside(&format!(
        "Type the {LINES} lines of the page, each with its word, or scan the code:"
    ));
    let key = typed()?;
    if let Some(id) = id
        && id != key.id()
    {
        return Err(Failure::Usage { what: format!("this is key {}, not {id}", key.id()) });
    }
    // Whoever typed it in has it on paper.
    let now = bench.desk.clock.now();
    let stored = StoredKey::new(key, owner, now).on_paper(now);
    let id = ring.add(stored)?;
    tell(bench, id, "imported");
    Ok(())
}

fn typed() -> Result<DataKey, Failure> {
    let mut typed = Typed::default();
    let mut mistakes = 0;
    loop {
        let text = line()?;
        match typed.line(&text) {
            Ok(Some(key)) => return Ok(key),
            Ok(None) => {}
            Err(error) => {
                mistakes += 1;
                if mistakes == TRIES {
                    return Err(Failure::Usage { what: error.to_string() });
                }
                say::aside(&format!("{error}; line {} once more:", typed.next()));
            }
        }
    }
}

/// One line of standard input, which may not end before it.
fn line() -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    let read = io::stdin().lock().read_line(&mut text).map_err(|cause| JobError::File {
        operation: "read standard input",
        path: None,
        cause,
    })?;
    if read == 0 {
        return Err(Failure::Usage { what: "standard input ended before the key did".into() });
    }
    Ok(text)
}
