//! The example `multi_client`: a worker for each client.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};

use crate::common::PATIENCE;
use crate::common::programs::{ANY_PORT, server, with_each_backend};

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, lines: &str) {
        self.0.get_mut().write_all(lines.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Checks that the next line has the factors of `number`.
    fn check_factors(&mut self, number: u64) {
        let line = self.line();
        let (given, factors) = line.trim_end().split_once(": ").unwrap();
        let factors = factors.split(' ').map(|factor| factor.parse::<u64>());
        let product: u64 = factors.map(Result::unwrap).product();
        assert_eq!((given, product), (number.to_string().as_str(), number));
    }
}

#[test]
fn a_long_computation_of_one_client_keeps_no_other_waiting() {
    with_each_backend(|backend| {
        let (_server, address) = server("multi_client", backend, &[ANY_PORT]);
        let mut patient = Client::connect(&address);
        patient.say("999998727899999\n9999973000001\n");
        let mut leaving = Client::connect(&address);
        leaving.say("999999999999989\n");
        drop(leaving);
        let mut quick = Client::connect(&address);
        for _ in 0..3 {
            quick.say("12\n1\n13\n");
            assert_eq!(quick.line(), "12: 2 2 3\n");
            assert_eq!(quick.line(), "1:\n");
            assert_eq!(quick.line(), "13: 13\n");
            for nonsense in ["no number", "0", "-1", "1000000000000001", ""] {
                quick.say(&format!("{nonsense}\n"));
                assert!(quick.line().starts_with("send a number"), "{nonsense}");
            }
        }
        // The end of the input does not cut off what is being computed.
        quick.say("999998727899999\n6\n");
        quick.0.get_mut().shutdown(Shutdown::Write).unwrap();
        quick.check_factors(999_998_727_899_999);
        assert_eq!(quick.line(), "6: 2 3\n");
        assert_eq!(quick.line(), "");
        patient.check_factors(999_998_727_899_999);
        patient.check_factors(9_999_973_000_001);
    });
}
