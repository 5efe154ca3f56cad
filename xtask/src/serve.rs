//! Serves the built page on localhost as it should be served anywhere: right types, isolated, no connection but to itself.

use crate::wasm;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::path::{Component, Path};
use tiny_http::{Header, Request, Response, Server};

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
     style-src 'self'; img-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
    let Some(opened) = inside.then(|| File::open(&file).ok()).flatten() else {
        return Ok(request.respond(with_headers(
            Response::from_string("not found\n").with_status_code(404),
            "text/plain",
        )?)?);
    };
    Ok(request.respond(with_headers(Response::from_file(opened), content_type(&file))?)?)
}

fn with_headers<R: std::io::Read>(mut response: Response<R>, content_type: &str) -> Result<Response<R>> {
    for (name, value) in HEADERS.into_iter().chain([("Content-Type", content_type)]) {
        response.add_header(Header::from_bytes(name, value).map_err(|()| anyhow!("{name}: no header"))?);
    }
    Ok(response)
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "webmanifest") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("wasm") => "application/wasm",
        Some("csv" | "tsv" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
