//! `chiasm serve`: the flags, and what is printed.

use crate::{args::ServeArgs, command_result::CommandResult, print};
use chiasm_pipeline::{Environment, Error};
use chiasm_serve::{ServeOptions, TlsFiles, serve};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The largest file with a key.
const LONGEST_KEY: u64 = 64 << 10;

/// Serves runs until a signal. Prints the address when every run is loaded.
pub fn run(args: &ServeArgs, env: &Environment) -> CommandResult {
    let options = ServeOptions {
        runs: args.runs.clone(),
        indexes: args.indexes.iter().map(|text| index(text, args)).collect::<CommandResult<_>>()?,
        host: args.host,
        port: args.port,
        workers: args.workers,
        max_batch: args.max_batch,
        max_delay: seconds("max-delay-ms", args.max_delay_ms / 1e3)?,
        max_queue: args.max_queue,
        max_body: mebibytes("max-body", args.max_body)?,
        max_bodies: mebibytes("max-bodies", args.max_bodies)?,
        timeout: seconds("timeout", args.timeout)?,
        drain: seconds("drain", args.drain)?,
        api_key: args.api_key_file.as_deref().map(key).transpose()?,
        tls: tls(args)?,
        ..ServeOptions::default()
    };
    if !args.host.is_loopback() && options.api_key.is_none() {
        env.reporter.note("everyone who reaches this address can use the runs: --api-key-file sets a key");
    }
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    serve(&options, env, &|address| print::line(&format!("listening on {scheme}://{address}")))
}

/// Returns the files of the certificate and its key, if both are given.
fn tls(args: &ServeArgs) -> CommandResult<Option<TlsFiles>> {
    match (&args.tls_cert, &args.tls_key) {
        (Some(certificates), Some(key)) => {
            Ok(Some(TlsFiles { certificates: certificates.clone(), key: key.clone() }))
        }
        (None, None) => Ok(None),
        (given, _) => {
            let (given, missing) =
                if given.is_some() { ("--tls-cert", "--tls-key") } else { ("--tls-key", "--tls-cert") };
            let message = format!("{given} is given without {missing}");
            Err(Error::input("chiasm::option", message, "give both, or none for plain HTTP"))
        }
    }
}

/// Parses `NAME=FILE`, or `FILE` for the only run.
fn index(text: &str, args: &ServeArgs) -> CommandResult<(String, PathBuf)> {
    match (text.split_once('='), args.runs.as_slice()) {
        (Some((name, file)), _) => Ok((name.to_owned(), PathBuf::from(file))),
        (None, [only]) => Ok((only.name.clone(), PathBuf::from(text))),
        (None, _) => {
            let help = "give --index NAME=FILE";
            Err(Error::input("chiasm::option", format!("--index {text}: of which run?"), help))
        }
    }
}

fn seconds(flag: &str, value: f64) -> CommandResult<Duration> {
    Duration::try_from_secs_f64(value).ok().filter(|time| time.as_secs() < 1 << 30).ok_or_else(|| {
        let help = "give a number of at least 0";
        Error::input("chiasm::option", format!("--{flag}: {value} is no duration"), help)
    })
}

fn mebibytes(flag: &str, value: f64) -> CommandResult<usize> {
    if value > 0.0 && value < 1e6 {
        return Ok((value * f64::from(1 << 20)) as usize);
    }
    let message = format!("--{flag}: expected a number above 0 and below 1e6, got {value}");
    Err(Error::input("chiasm::option", message, "give another number"))
}

/// Reads the key: the text of the file without white space at its ends.
fn key(path: &Path) -> CommandResult<String> {
    let bytes = chiasm_host::read_file(path, LONGEST_KEY).map_err(|e| Error::io("read", path, e))?;
    let key = String::from_utf8_lossy(&bytes).trim().to_owned();
    match key.is_empty() {
        false => Ok(key),
        true => {
            let message = format!("{} holds no key", path.display());
            Err(Error::input("chiasm::option", message, "write the key into it, on one line"))
        }
    }
}
