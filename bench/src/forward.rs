//! The forwarder: bytes per second through the example `port_forward`, beside
//! socat.

use std::error::Error;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::contest::{Contest, Server, build_example, on_measured_core, target_directory};
use crate::effort::Effort;
use crate::report::{Goal, Report, Table, median, number};

pub fn run(_: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("forward", "Forward: bytes per second");
    report.notes.push(format!(
        "One connection through a forwarder, one way, over TCP on the loopback interface. The \
         sender gives pages away and the receiver throws away what comes, so that it is the \
         forwarder that is measured. The median of {} rounds.",
        effort.rounds
    ));
    let forwarders = [
        Forwarder::Own("poll"),
        Forwarder::Own("select"),
        Forwarder::Socat,
    ];
    build_example("port_forward")?;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); forwarders.len()];
    for _ in 0..effort.rounds {
        for (forwarder, rates) in forwarders.iter().zip(&mut rates) {
            match rate(forwarder, effort.load_time * 2) {
                Ok(rate) => rates.push(rate),
                Err(error) => eprintln!("  {}: {error}", forwarder.name()),
            }
        }
    }
    let socat = median(&rates[2]);
    let mut table = Table::new("", &["forwarder", "bytes per second", "times socat"]);
    for (forwarder, rates) in forwarders.iter().zip(&rates) {
        let rate = median(rates);
        let ratio = rate.zip(socat).map(|(rate, socat)| rate / socat);
        table.rows.push(vec![
            forwarder.name(),
            rate.map_or("left out".to_owned(), number),
            ratio.map_or(String::new(), |ratio| format!("{}×", number(ratio))),
        ]);
        report.data.push(json!({
            "forwarder": forwarder.name(),
            "bytes_per_second": rate,
            "ratio_to_socat": ratio,
            "rounds": rates,
        }));
        if let Forwarder::Own(call) = forwarder {
            let what = format!("forward: {call}, times socat");
            report.goals.push(Goal::at_least(what, 1.0, ratio));
        }
    }
    if socat.is_none() {
        let note = "socat is left out: it is not installed, or does not respond.";
        report.notes.push(note.to_owned());
    }
    report.tables.push(table);
    Ok(report)
}

enum Forwarder {
    /// With a backend.
    Own(&'static str),
    Socat,
}

impl Forwarder {
    fn name(&self) -> String {
        match self {
            Self::Own(backend) => format!("port_forward --backend {backend}"),
            Self::Socat => "socat".to_owned(),
        }
    }

    /// Starts one that forwards to `port`.
    fn start(&self, port: u16) -> Result<Server, Box<dyn Error>> {
        match self {
            Self::Own(backend) => {
                let program = target_directory()?.join("release/examples/port_forward");
                let mut command = on_measured_core(Command::new(program));
                command.args([
                    "--backend",
                    backend,
                    "127.0.0.1:0",
                    &format!("127.0.0.1:{port}"),
                ]);
                Server::start(command)
            }
            Self::Socat => {
                // It does not say which port it got, so it is given one that is free.
                let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let mut command = on_measured_core(Command::new("socat"));
                command.args([
                    &format!("TCP-LISTEN:{free},bind=127.0.0.1,reuseaddr"),
                    &format!("TCP:127.0.0.1:{port}"),
                ]);
                Server::start_at(command, free)
            }
        }
    }
}

/// Bytes per second.
fn rate(forwarder: &Forwarder, time: Duration) -> Result<f64, Box<dyn Error>> {
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let server = forwarder.start(sink.local_addr()?.port())?;
    let source = connect(server.port)?;
    let (sink, _) = sink.accept()?;
    wake_seldom(&sink);
    let sender = thread::spawn(move || send(&source));
    // The buffers fill, the windows grow.
    receive(&sink, time / 3)?;
    let rate = receive(&sink, time)?;
    drop(sink);
    drop(server);
    // It finds its connection gone.
    let _ = sender.join();
    Ok(rate)
}

/// Connects to a server that is about to listen.
fn connect(port: u16) -> io::Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Err(error) if start.elapsed() > Duration::from_secs(2) => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(10)),
            connected => return connected,
        }
    }
}

/// Bytes of the pages that are sent.
pub const PAGES: usize = 1 << 20;

/// Makes a file in memory, of zeros.
pub fn pages() -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"pages".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, and no other code owns it.
    let pages = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: as above.
    unsafe { libc::ftruncate(pages.as_raw_fd(), PAGES as libc::off_t) };
    Ok(pages)
}

/// Sends the same pages until the connection is gone, without copying them.
fn send(stream: &TcpStream) -> io::Result<()> {
    let pages = pages()?;
    loop {
        let mut offset = 0;
        while (offset as usize) < PAGES {
            let left = PAGES - offset as usize;
            let (to, from) = (stream.as_raw_fd(), pages.as_raw_fd());
            // SAFETY: both are open, and the kernel changes the offset.
            if unsafe { libc::sendfile(to, from, &mut offset, left) } <= 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
}

/// Has a receive wait for a good deal, so that the load leaves its core to the
/// sender.
fn wake_seldom(stream: &TcpStream) {
    let bytes: libc::c_int = 256 * 1024;
    // SAFETY: the kernel reads an option of that size. Without it there are just
    // more receives.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
}

/// Receives and discards for some time. Returns the bytes per second.
fn receive(stream: &TcpStream, time: Duration) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let mut received = 0;
    while start.elapsed() < time {
        match discard(stream.as_raw_fd())? {
            0 => return Err("the forwarder has closed the connection".into()),
            bytes => received += bytes,
        }
    }
    Ok(received as f64 / start.elapsed().as_secs_f64())
}

/// Receives from a TCP socket without copying the data. Returns its length.
pub fn discard(socket: RawFd) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC, TCP drops the bytes, and writes to no buffer.
    let received = unsafe { libc::recv(socket, ptr::null_mut(), 1 << 20, libc::MSG_TRUNC) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}
