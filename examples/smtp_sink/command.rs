//! The commands of a client, parsed from their lines.

use super::domain::is_domain;
use super::session::Reply;

/// A command whose syntax is right.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Helo,
    Ehlo,
    /// The size is the one that the client announces, or 0.
    Mail {
        sender: String,
        size: u64,
    },
    Rcpt,
    Data,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

/// The limit of the length of a command other than MAIL, without its CR LF.
const LINE_LIMIT: usize = 510;

/// Parses the command in a line. The error is the reply to a malformed one.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    // Among what is refused here are NULs, and line ends that are only half of one:
    // taking those for an end is how messages are smuggled past other servers.
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    let line = match std::str::from_utf8(line) {
        Ok(text) if line.iter().all(printable) => text.trim_end(),
        _ => return Err("500 a command is printable ASCII and ends with CR LF".into()),
    };
    let (verb, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let (verb, argument) = (verb.to_ascii_uppercase(), argument.trim());
    if line.len() > LINE_LIMIT && verb != "MAIL" {
        return Err("500 the line is too long".into());
    }
    let alone = |command| match argument {
        "" => Ok(command),
        _ => Err("501 the command takes no argument".into()),
    };
    let with_argument = |command| match argument {
        "" => Err("501 the command takes an argument".into()),
        _ => Ok(command),
    };
    match verb.as_str() {
        "HELO" => with_argument(Command::Helo),
        "EHLO" => with_argument(Command::Ehlo),
        "MAIL" => mail(argument),
        "RCPT" => rcpt(argument),
        "DATA" => alone(Command::Data),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" => with_argument(Command::Vrfy),
        "AUTH" | "BDAT" | "ETRN" | "EXPN" | "SAML" | "SEND" | "SOML" | "STARTTLS" | "TURN" => {
            Err("502 the command is not implemented".into())
        }
        _ => Err("500 unknown command".into()),
    }
}

fn mail(argument: &str) -> Result<Command, Reply> {
    let wrong = || Reply::from("501 expected MAIL FROM:<address> and parameters");
    let (path, parameters) = path(argument, "FROM:").ok_or_else(wrong)?;
    // The sender of a message that must not be replied to is empty.
    let sender = match path {
        "" => "",
        path => mailbox(path).ok_or_else(wrong)?,
    };
    let (mut size, mut given) = (0, Vec::new());
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = name.to_ascii_uppercase();
        if given.contains(&name) {
            return Err(format!("501 {name} is given twice").into());
        }
        match name.as_str() {
            "SIZE" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                // A number that does not fit is too large in any case.
                size = value.parse().unwrap_or(u64::MAX);
            }
            "SIZE" => return Err("501 SIZE is a number of bytes".into()),
            "BODY" => match value.to_ascii_uppercase().as_str() {
                "7BIT" | "8BITMIME" => {}
                "" => return Err("501 BODY is 7BIT or 8BITMIME".into()),
                _ => return Err("504 BODY is 7BIT or 8BITMIME".into()),
            },
            _ => return Err("555 unknown parameter".into()),
        }
        given.push(name);
    }
    let sender = sender.to_owned();
    Ok(Command::Mail { sender, size })
}

fn rcpt(argument: &str) -> Result<Command, Reply> {
    let wrong = || Reply::from("501 expected RCPT TO:<address>");
    let (path, parameters) = path(argument, "TO:").ok_or_else(wrong)?;
    if !path.eq_ignore_ascii_case("postmaster") {
        mailbox(path).ok_or_else(wrong)?;
    }
    match parameters {
        "" => Ok(Command::Rcpt),
        _ => Err("555 unknown parameter".into()),
    }
}

/// The text in the angle brackets after `keyword`, and the text after them.
fn path<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    // A blank is not allowed here, but some clients send one.
    let path = rest.trim_start().strip_prefix('<')?;
    let end = closing_bracket(path)?;
    let parameters = &path[end + 1..];
    let apart = parameters.is_empty() || parameters.starts_with([' ', '\t']);
    apart.then(|| (&path[..end], parameters.trim()))
}

/// The position of the first `>` that is not quoted.
fn closing_bracket(path: &str) -> Option<usize> {
    let mut quoted = false;
    let mut bytes = path.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The address in a path, if it is one, without the source route before it, which is to be
/// ignored.
fn mailbox(path: &str) -> Option<&str> {
    let address = match path.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => path,
    };
    let (local, domain) = address.rsplit_once('@')?;
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let atom = |text: &str| !text.is_empty() && text.chars().all(in_atom);
    let local_fits = quoted || local.split('.').all(atom);
    let literal = domain.starts_with('[') && domain.ends_with(']');
    // Hosts are named with underscores too, although no domain has one.
    let domain_fits = literal || is_domain(&domain.replace('_', "x"));
    (local_fits && domain_fits).then_some(address)
}

/// Checks whether an unquoted local part may contain `c`, which is `atext` in RFC 5322.
fn in_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}
