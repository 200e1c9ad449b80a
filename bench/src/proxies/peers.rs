//! The forwarders, each set up as its documentation does for one TCP port.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contest::target_directory;
use crate::program::{self, Program, Scratch};

/// Connections that a forwarder has room for.
const ROOM: usize = 4_096;

/// Bytes that the example receives at once, at most.
const BUFFER: usize = 256 * 1024;

/// Where Debian has the module of nginx that forwards connections.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

#[derive(Debug, Clone, Copy)]
pub enum Proxy {
    /// The example, with a backend.
    Own(&'static str),
    /// With buffers of 16 KiB, its default.
    Haproxy,
    /// With buffers as large as those of the example.
    HaproxyWide,
    Nginx,
    Socat,
}

impl Proxy {
    pub const ALL: [Self; 6] = [
        Self::Own("epoll"),
        Self::Own("poll"),
        Self::Haproxy,
        Self::HaproxyWide,
        Self::Nginx,
        Self::Socat,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Own(backend) => format!("port_forward --backend {backend}"),
            Self::Haproxy => "haproxy".to_owned(),
            Self::HaproxyWide => format!("haproxy, buffers of {} KiB", BUFFER / 1024),
            Self::Nginx => "nginx".to_owned(),
            Self::Socat => "socat".to_owned(),
        }
    }

    /// Returns the program, if it is installed.
    pub fn program(self) -> Result<PathBuf, Box<dyn Error>> {
        let name = match self {
            Self::Own(_) => return Ok(target_directory()?.join("release/examples/port_forward")),
            Self::Haproxy | Self::HaproxyWide => "haproxy",
            Self::Nginx => "nginx",
            Self::Socat => "socat",
        };
        program::find(name).ok_or_else(|| "it is not installed".into())
    }

    /// Starts one that will forward from port to port.
    pub fn start(self, listen: u16, remote: u16) -> Result<Program, Box<dyn Error>> {
        let scratch = Scratch::new()?;
        let mut command = Command::new(self.program()?);
        match self {
            Self::Own(backend) => {
                command.args(["--backend", backend]);
                command.args([listen, remote].map(|port| format!("127.0.0.1:{port}")));
            }
            Self::Haproxy | Self::HaproxyWide => {
                let options = match self {
                    Self::HaproxyWide => format!("tune.bufsize {BUFFER}"),
                    _ => String::new(),
                };
                let text = haproxy(&options, listen, remote);
                let file = scratch.write("haproxy.cfg", &text)?;
                command.args(["-db", "-q", "-f"]).arg(file);
            }
            Self::Nginx => {
                let text = nginx(scratch.path(), listen, remote);
                let file = scratch.write("nginx.conf", &text)?;
                command.args(["-e", "stderr", "-c"]).arg(file);
            }
            Self::Socat => {
                command.arg(format!(
                    "TCP-LISTEN:{listen},bind=127.0.0.1,reuseaddr,fork,backlog=128"
                ));
                command.arg(format!("TCP:127.0.0.1:{remote}"));
            }
        }
        Program::start(command, scratch)
    }
}

/// One thread, since the others have one, too.
fn haproxy(options: &str, listen: u16, remote: u16) -> String {
    format!(
        "global
    nbthread 1
    maxconn {ROOM}
    {options}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen forward
    bind 127.0.0.1:{listen}
    maxconn {ROOM}
    server remote 127.0.0.1:{remote}
"
    )
}

/// One process, and no files outside of `directory`.
fn nginx(directory: &Path, listen: u16, remote: u16) -> String {
    // A build without modules has it built in, or else says so.
    let module = if Path::new(STREAM_MODULE).exists() {
        format!("load_module {STREAM_MODULE};")
    } else {
        String::new()
    };
    // Each connection is two.
    let room = 2 * ROOM;
    let directory = directory.display();
    format!(
        "{module}
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{ worker_connections {room}; }}
stream {{
    server {{
        listen 127.0.0.1:{listen};
        proxy_pass 127.0.0.1:{remote};
        proxy_timeout 1h;
    }}
}}
"
    )
}
