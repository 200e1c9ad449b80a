use std::io;

use super::*;

#[test]
fn every_form_is_read_and_shown_alike() {
    for text in [
        "1.2.3.4:5",
        "[::1]:80",
        "[fe80::1%7]:80",
        "/run/s",
        "unix:s",
        "@name",
    ] {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
    }
    let path: Address = "unix:s".parse().unwrap();
    assert_eq!(path, Address::Path("s".into()));
    assert_eq!(Address::Unnamed.to_string(), "(unnamed)");
}

#[test]
fn a_path_is_read_as_that_path_again_whatever_it_looks_like() {
    for path in [
        "a/b",
        "plain",
        "@a/b",
        "unix:a/b",
        "127.0.0.1:80",
        "*:80",
        "http://localhost:80/",
        "/tmp/http://x",
        r"/tmp/a\x1b\b",
        "/tmp/café \"日本\"",
    ] {
        let address = Address::Path(path.into());
        assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
    }
    for name in [&b"name"[..], b"a/b", br"a\x1b", "café".as_bytes()] {
        let address = Address::Abstract(name.to_vec());
        assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
    }
}

#[test]
fn what_a_terminal_would_obey_is_shown_escaped() {
    for (bytes, shown) in [
        (
            &b"/tmp/\x1b[31m\r\n\0\x7f"[..],
            r"/tmp/\x1b[31m\r\n\x00\x7f",
        ),
        (b"/tmp/\xff\xc3(", r"/tmp/\xff\xc3("),
        // A control character of two bytes, which some terminals take for an escape.
        ("/tmp/\u{9b}1m".as_bytes(), r"/tmp/\u{9b}1m"),
        (
            "/tmp/\u{202e}a\u{2066}\u{2028}".as_bytes(),
            r"/tmp/\u{202e}a\u{2066}\u{2028}",
        ),
        (b"plain\x1b", r"unix:plain\x1b"),
    ] {
        let address = Address::Path(OsStr::from_bytes(bytes).into());
        assert_eq!(address.to_string(), shown);
        let debug = format!("{address:?}");
        assert!(!debug.contains(|c: char| c.is_control()), "{debug:?}");
        if let Some(path) = shown.strip_prefix("/tmp/") {
            let name = bytes.strip_prefix(b"/tmp/").unwrap();
            let address = Address::Abstract(name.to_vec());
            assert_eq!(address.to_string(), format!("@{path}"));
        }
    }
}

#[test]
fn a_scope_may_be_an_interface_name() {
    let name = ["lo", "lo0"]
        .into_iter()
        .find(|name| nix::net::if_::if_nametoindex(*name).is_ok());
    let Some(name) = name else { return };
    let address: Address = format!("[fe80::1%{name}]:80").parse().unwrap();
    let index = nix::net::if_::if_nametoindex(name).unwrap();
    assert_eq!(address.to_string(), format!("[fe80::1%{index}]:80"));
    let error = "[fe80::1%no-such]:80".parse::<Address>().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("no-such"), "{error}");
}

#[test]
fn nonsense_is_refused_with_the_forms_there_are() {
    for text in [
        "",
        "nonsense",
        "1.2.3.4",
        "[::1",
        "[::1]:99999",
        ":80",
        "unix:",
        "localhost:+80",
        "1.2.3.4:+80",
    ] {
        let error = text.to_addresses().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text:?}");
    }
}

#[test]
fn a_host_name_is_offered_where_one_is_resolved() {
    let offered = |error: crate::Error| {
        error
            .to_string()
            .contains("expected HOST:PORT, [IPv6]:PORT")
    };
    assert!(offered("nonsense".to_addresses().unwrap_err()));
    assert!(!offered("nonsense".parse::<Address>().unwrap_err()));
}

#[test]
fn common_mistakes_are_answered_with_what_to_write() {
    for (text, advice) in [
        (
            "http://localhost:80/",
            "it is a URL; write \"localhost:80\"",
        ),
        ("tcp://[::1]:8080", "it is a URL; write \"[::1]:8080\""),
        (
            "HTTP://user:secret@localhost",
            "it is a URL; write \"localhost:80\"",
        ),
        ("https://[::1]?a", "it is a URL; write \"[::1]:443\""),
        ("ws://\u{1b}", "it is a URL; write \"\\u{1b}:PORT\""),
        ("file:///tmp/s", "it is a URL; write HOST:PORT or unix:PATH"),
        ("unix:", "the path after unix: is missing"),
    ] {
        for error in [
            text.to_addresses().unwrap_err(),
            text.parse::<Address>().unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(
                error.to_string(),
                format!("{text:?} is not an address: {advice}")
            );
        }
    }
    for text in ["*:8080", ":8080"] {
        let error = text.to_addresses().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            format!(
                "{text:?} is not an address: write 0.0.0.0:8080 or [::]:8080 for every \
                 interface, 127.0.0.1:8080 for this machine alone"
            )
        );
        assert_eq!(
            text.parse::<Address>().unwrap_err().to_string(),
            error.to_string()
        );
    }
}

#[test]
fn a_port_that_is_not_a_number_is_what_is_wrong() {
    for text in [
        "127.0.0.1:80999",
        "127.0.0.1:",
        "localhost:-1",
        "localhost:http",
        "localhost:+80",
        "[::1]:99999",
        "[::1]:+80",
        "*:http",
        ":99999",
    ] {
        for error in [
            text.to_addresses().unwrap_err(),
            text.parse::<Address>().unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text:?}");
            let expected = "is not an address: the port must be a number from 0 to 65535";
            assert_eq!(error.to_string(), format!("{text:?} {expected}"));
        }
    }
    // Not in these: they have no port.
    for text in ["[::1]", "[::1", "localhost"] {
        let error = text.to_addresses().unwrap_err().to_string();
        let expected = "expected HOST:PORT, [IPv6]:PORT or a path with a slash";
        assert_eq!(error, format!("{text:?} is not an address: {expected}"));
    }
}

#[test]
fn a_host_name_is_resolved() {
    let addresses = "localhost:80".to_addresses().unwrap();
    assert!(addresses.iter().all(|a| a.port() == Some(80)));
    assert!(!addresses.is_empty());
    assert!("no-such-host.invalid:80".to_addresses().is_err());
}

#[test]
fn the_addresses_of_a_name_are_tried_by_turns_of_the_families() {
    let order = |addresses: &[&str]| -> Vec<String> {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let ordered = resolve::interleaved(addresses);
        ordered.iter().map(Address::to_string).collect()
    };
    let (a, b, c) = ("[::1]:1", "[::2]:1", "[::3]:1");
    let (x, y) = ("1.1.1.1:1", "2.2.2.2:1");
    assert_eq!(order(&[a, b, c, x, y]), [a, x, b, y, c]);
    assert_eq!(
        order(&[x, y, a]),
        [x, a, y],
        "the resolver has chosen the family"
    );
    assert_eq!(order(&[a, x, y]), [a, x, y]);
    assert_eq!(order(&[b, a]), [b, a]);
    assert!(order(&[]).is_empty());
}
