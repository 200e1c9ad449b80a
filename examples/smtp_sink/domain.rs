//! Domain names: those in addresses, and the server's own.

use nix::unistd::gethostname;

/// Checks the syntax of a domain name: RFC 5321, and the lengths of RFC 1035.
pub fn is_domain(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(letter)
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Returns the name that the server announces: the system's host name, which users may set to
/// anything, or `localhost` if that is not a domain name.
pub fn own_name() -> String {
    let name = gethostname().ok().and_then(|name| name.into_string().ok());
    // An IPv4 address has the syntax of a domain name as well.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |name: &String| is_domain(name) && !name.rsplit('.').next().is_some_and(is_number);
    name.filter(fits).unwrap_or_else(|| "localhost".to_owned())
}
