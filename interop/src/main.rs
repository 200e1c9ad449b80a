//! An HTTP/1.1 server of hyper on fdloop, over TLS of rustls if it is given a certificate.
//!
//! hyper and rustls do not know fdloop: hyper reads and writes through [`HyperIo`], and rustls
//! through the traits of futures-io, which `Async` implements.
//!
//! ```text
//! cargo run -- 127.0.0.1:8080 [CERT.pem KEY.pem] &
//! curl http://127.0.0.1:8080/hello
//! ```

mod io;

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::sync::Arc;

use fdloop::{Async, Backend, EventLoop, Handle, Socket};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

use io::HyperIo;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: fdloop-interop select|poll ADDR [CERT KEY]";
    let backend: Backend = arguments.next().ok_or(usage)?.parse()?;
    let address = arguments.next().ok_or(usage)?;
    let tls = match (arguments.next(), arguments.next()) {
        (Some(certificate), Some(key)) => Some(acceptor(&certificate, &key)?),
        (None, _) => None,
        _ => return Err(usage.into()),
    };
    let mut event_loop = EventLoop::with_backend(backend)?;
    let handle = event_loop.handle();
    event_loop.block_on(serve(&handle, &address, tls))?
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Makes a task of each connection.
async fn serve(handle: &Handle, address: &str, tls: Option<TlsAcceptor>) -> Result<()> {
    let listener = handle.listen(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let tls = tls.clone();
        let connection = async move {
            if let Err(error) = respond(stream, tls).await {
                eprintln!("a connection has ended: {error}");
            }
        };
        handle.spawn(connection).detach();
    }
}

async fn respond(stream: Async<Socket>, tls: Option<TlsAcceptor>) -> Result<()> {
    let http = http1::Builder::new();
    match tls {
        Some(tls) => {
            let stream = tls.accept(stream).await?;
            http.serve_connection(HyperIo(stream), service_fn(echo))
                .await?;
        }
        None => {
            http.serve_connection(HyperIo(stream), service_fn(echo))
                .await?
        }
    }
    Ok(())
}

/// Sends back the path and the body of a request.
async fn echo(
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let mut text = format!("{} {}\n", request.method(), request.uri().path()).into_bytes();
    match request.into_body().collect().await {
        Ok(body) => text.extend_from_slice(&body.to_bytes()),
        Err(error) => text.extend_from_slice(error.to_string().as_bytes()),
    }
    Ok(Response::new(Full::from(text)))
}
