//! Serves the built page on localhost as it should be served anywhere: right types, isolated, no connection but to itself.

use crate::wasm;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path};
use tiny_http::{Method, Request, Server};

/// The built page.
const FOLDER: &str = "www/dist";

/// Sent with every answer. The two `Cross-Origin` policies isolate the page, which gives it shared memory for a prompt cancel; the
/// security policy lets it load from and connect to its own origin only, so that nothing can leave the machine.
const HEADERS: [(&str, &str); 7] = [
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
];

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; \
     style-src 'self'; img-src 'self' blob: data:; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `serve [--port N] [--no-build] [--folder FOLDER]`
pub(crate) fn command(options: &[String]) -> Result<()> {
    let mut port = 8080;
    let mut builds = true;
    let mut folder = FOLDER;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--no-build" => builds = false,
            "--folder" => folder = options.next().context("--folder: a path is missing")?,
            "--port" => {
                let text = options.next().context("--port: a number is missing")?;
                port = text.parse().with_context(|| format!("--port {text}: no port number"))?;
            }
            other => bail!("serve: unknown option {other}"),
        }
    }
    if builds {
        wasm::page()?;
    }
    let server = Server::http(("127.0.0.1", port)).map_err(|error| anyhow!("port {port}: {error}"))?;
    println!("http://{}/", server.server_addr());
    for request in server.incoming_requests() {
        // A browser that closed its connection meanwhile is no reason to stop.
        let _closed = answer(request, Path::new(folder));
    }
    Ok(())
}

fn answer(request: Request, folder: &Path) -> Result<()> {
    let path = request
        .url()
        .split(['?', '#'])
        .next()
        .unwrap_or("/")
        .trim_start_matches('/')
        .to_owned();
    let mut file = folder.join(if path.is_empty() { "index.html" } else { &path });
    if file.is_dir() {
        file.push("index.html");
    }
    let inside = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
    let opened = inside.then(|| File::open(&file).ok()).flatten();
    let (status, content_type, size) = match &opened {
        Some(opened) => ("200 OK", content_type(&file), opened.metadata()?.len()),
        None => ("404 Not Found", "text/plain", 0),
    };
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n");
    for (name, value) in HEADERS {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // Written by hand because tiny_http does not let a response close its connection, and sometimes queues a new connection behind one that a
    // browser keeps open: the page would wait for a file that never comes.
    head.push_str("Connection: close\r\n\r\n");
    let is_head = *request.method() == Method::Head;
    let mut out = request.into_writer();
    out.write_all(head.as_bytes())?;
    if let Some(mut opened) = opened.filter(|_| !is_head) {
        io::copy(&mut opened, &mut out)?;
    }
    Ok(out.flush()?)
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "webmanifest") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("wasm") => "application/wasm",
        Some("csv" | "tsv" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
