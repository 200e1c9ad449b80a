//! `Async`: reading, writing, waiting, closing, of any kind of descriptor.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use fdloop::{Async, EventLoop, FileWrapper, Handle, Socket};
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, future};

use crate::common::{TempDir, on_every_backend, pattern, raw_pty, with_every_loop};
use crate::yield_now;

/// Two connected streams of a loop.
fn pair(handle: &Handle) -> (Async<Socket>, Async<Socket>) {
    let (one, two) = Socket::pair().unwrap();
    (
        Async::new(handle, one).unwrap(),
        Async::new(handle, two).unwrap(),
    )
}

/// Runs a test with a handle, on every backend.
#[track_caller]
fn in_every_loop(test: impl AsyncFn(Handle)) {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        event_loop.block_on(test(handle)).unwrap();
        assert!(event_loop.is_empty(), "a channel is left");
    });
}

#[test]
fn megabytes_pass_in_both_directions_at_once_over_one_descriptor() {
    in_every_loop(async |handle| {
        let data = Rc::new(pattern(3 << 20));
        let (one, two) = pair(&handle);
        let mut tasks = Vec::new();
        for stream in [Rc::new(one), Rc::new(two)] {
            let (writer, output) = (Rc::clone(&stream), Rc::clone(&data));
            tasks.push(handle.spawn(async move {
                (&*writer).write_all(&output).await.unwrap();
                (&*writer).close().await.unwrap();
            }));
            let input = Rc::clone(&data);
            tasks.push(handle.spawn(async move {
                let mut received = Vec::new();
                (&*stream).read_to_end(&mut received).await.unwrap();
                assert!(received == *input);
            }));
        }
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn vectored_writes_arrive_in_order() {
    in_every_loop(async |handle| {
        let (mut one, mut two) = pair(&handle);
        let bufs = [
            IoSlice::new(b"one "),
            IoSlice::new(b"two "),
            IoSlice::new(b"three"),
        ];
        assert_eq!(one.write_vectored(&bufs).await.unwrap(), 13);
        drop(one);
        let mut text = String::new();
        two.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two three");
    });
}

#[test]
fn lines_are_read_with_the_traits_of_the_ecosystem() {
    in_every_loop(async |handle| {
        let (mut one, two) = pair(&handle);
        let writer = handle.spawn(async move {
            for piece in ["fir", "st\nsec", "ond\nla", "st"] {
                one.write_all(piece.as_bytes()).await.unwrap();
                yield_now().await;
            }
        });
        let lines: Vec<_> = BufReader::new(two)
            .lines()
            .map(Result::unwrap)
            .collect()
            .await;
        assert_eq!(lines, ["first", "second", "last"]);
        writer.await;
    });
}

#[test]
fn a_future_that_is_dropped_halfway_loses_no_data() {
    in_every_loop(async |handle| {
        let (mut one, mut two) = pair(&handle);
        let data = pattern(200_000);
        let output = data.clone();
        let writer = handle.spawn(async move {
            for piece in output.chunks(1_000) {
                one.write_all(piece).await.unwrap();
                yield_now().await;
            }
        });
        let mut received = Vec::new();
        let mut buf = [0; 777];
        loop {
            // Half of the reads are dropped after their first poll.
            let n = match future::poll_once(two.read(&mut buf)).await {
                Some(n) => n.unwrap(),
                None => two.read(&mut buf).await.unwrap(),
            };
            if n == 0 {
                break;
            }
            received.extend_from_slice(&buf[..n]);
        }
        assert!(received == data);
        writer.await;
    });
}

#[test]
fn waiting_futures_that_are_dropped_leave_their_places() {
    in_every_loop(async |handle| {
        let (one, mut two) = pair(&handle);
        for _ in 0..1_000 {
            assert!(future::poll_once(one.readable()).await.is_none());
            assert!(
                future::poll_once(
                    one.read_with(|_| -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) })
                )
                .await
                .is_none()
            );
        }
        two.write_all(b"x").await.unwrap();
        one.readable().await.unwrap();
    });
}

#[test]
fn several_tasks_wait_for_one_descriptor() {
    in_every_loop(async |handle| {
        let (one, mut two) = pair(&handle);
        let one = Rc::new(one);
        let heard = Rc::new(RefCell::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let (one, heard) = (Rc::clone(&one), Rc::clone(&heard));
                handle.spawn(async move {
                    if number % 2 == 0 {
                        one.readable().await.unwrap();
                    }
                    let mut byte = [0];
                    (&*one).read_exact(&mut byte).await.unwrap();
                    *heard.borrow_mut() += u32::from(byte[0]);
                })
            })
            .collect();
        yield_now().await;
        two.write_all(&[1; 100]).await.unwrap();
        for task in tasks {
            task.await;
        }
        assert_eq!(*heard.borrow(), 100);
    });
}

#[test]
fn closing_wakes_who_waits() {
    in_every_loop(async |handle| {
        let (one, _two) = pair(&handle);
        let one = Rc::new(one);
        let waiting = Rc::clone(&one);
        let reader = handle.spawn(async move { (&*waiting).read(&mut [0]).await });
        let waiting = Rc::clone(&one);
        let event = handle.spawn(async move { waiting.readable().await });
        yield_now().await;
        yield_now().await;
        one.abort();
        assert_eq!(
            reader.await.unwrap_err().kind(),
            io::ErrorKind::NotConnected
        );
        assert_eq!(event.await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        let late = one.writable().await.unwrap_err();
        assert!(late.to_string().contains("was closed"), "{late}");
    });
}

#[test]
fn the_loop_can_close_it_by_its_id() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let (ours, _theirs) = Socket::pair().unwrap();
        let (sender, id) = std::sync::mpsc::channel();
        let task = event_loop.spawn(async move {
            let mut ours = Async::new(&handle, ours).unwrap();
            sender.send(ours.id().unwrap()).unwrap();
            ours.read(&mut [0]).await.unwrap_err().kind()
        });
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(event_loop.close(id.recv().unwrap()).unwrap());
        let kind = event_loop.block_on(task).unwrap();
        assert_eq!(kind, io::ErrorKind::NotConnected);
    });
}

#[test]
fn a_write_waits_for_room_and_fails_when_the_reader_is_gone() {
    in_every_loop(async |handle| {
        let (mut one, two) = pair(&handle);
        let writer = handle.spawn(async move { one.write_all(&vec![0; 8 << 20]).await });
        yield_now().await;
        yield_now().await;
        assert!(!writer.is_finished());
        drop(two);
        assert_eq!(writer.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn datagrams_arrive_whole_with_their_senders() {
    in_every_loop(async |handle| {
        let one = handle.bind("127.0.0.1:0").unwrap();
        let two = handle.bind("127.0.0.1:0").unwrap();
        let to = one.get_ref().local_addr().unwrap();
        let receiver = handle.spawn(async move {
            let mut buf = [0; 64];
            let mut all = Vec::new();
            for _ in 0..3 {
                let (n, from) = one.recv_from(&mut buf).await.unwrap();
                all.push((String::from_utf8(buf[..n].to_vec()).unwrap(), from));
            }
            all
        });
        yield_now().await;
        for text in ["one", "two", "three"] {
            two.send_to(text.as_bytes(), &to).await.unwrap();
        }
        let from = two.get_ref().local_addr().unwrap();
        let expected = ["one", "two", "three"].map(|text| (text.to_owned(), from.clone()));
        assert_eq!(receiver.await, expected);
    });
}

#[test]
fn sockets_of_the_standard_library_are_descriptors_too() {
    in_every_loop(async |handle| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let socket = Async::new(&handle, socket).unwrap();
        let mut buf = [0; 8];
        let receive = socket.read_with(|socket| socket.recv(&mut buf));
        let send = socket.write_with(|socket| socket.send_to(b"datagram", address));
        let (received, sent) = future::zip(receive, send).await;
        assert_eq!((received.unwrap(), sent.unwrap()), (8, 8));
        assert_eq!(&buf, b"datagram");
    });
}

#[test]
fn pipes_terminals_and_files_are_read_and_written() {
    in_every_loop(async |handle| {
        let directory = TempDir::new();
        let path = directory.file("file");
        let mut file = Async::over(
            &handle,
            FileWrapper::new(File::create(&path).unwrap()).unwrap(),
        )
        .unwrap();
        file.write_all(b"to a file").await.unwrap();
        drop(file);
        let mut file = Async::over(
            &handle,
            FileWrapper::new(File::open(&path).unwrap()).unwrap(),
        )
        .unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "to a file");

        let (reader, writer) = os_pipe::pipe().unwrap();
        let mut reader = Async::over(&handle, FileWrapper::new(reader).unwrap()).unwrap();
        let mut writer = Async::new(&handle, writer).unwrap();
        let echo = handle.spawn(async move {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).await.unwrap();
            data
        });
        writer.write_all(&pattern(300_000)).await.unwrap();
        drop(writer);
        assert!(echo.await == pattern(300_000));

        let (master, terminal) = raw_pty();
        let mut master = Async::over(&handle, FileWrapper::new(master).unwrap()).unwrap();
        let mut terminal = Async::over(&handle, FileWrapper::new(terminal).unwrap()).unwrap();
        terminal.write_all(b"from the terminal").await.unwrap();
        let mut buf = [0; 17];
        master.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"from the terminal");
        drop(terminal);
        assert_eq!(master.read(&mut buf).await.unwrap(), 0);
    });
}

#[test]
fn connecting_and_accepting() {
    in_every_loop(async |handle| {
        let directory = TempDir::new();
        for address in ["127.0.0.1:0", "[::1]:0", &directory.file("socket")] {
            let listener = handle.listen(address).unwrap();
            let address = listener.local_addr().unwrap();
            let server = handle.spawn(async move {
                let (mut stream, peer) = listener.accept().await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                peer
            });
            let mut client = handle.connect(&address).await.unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hello");
            assert_eq!(server.await, client.get_ref().local_addr().unwrap());
        }
    });
}

#[test]
fn a_connection_that_is_refused_says_so_and_the_next_address_is_tried() {
    in_every_loop(async |handle| {
        let listener = handle.listen("127.0.0.1:0").unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = fdloop::Address::from(closed.local_addr().unwrap());
        drop(closed);
        let error = handle.connect(&nobody).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&nobody.to_string()), "{error}");
        let both = [nobody, listener.local_addr().unwrap()];
        handle.connect(&both[..]).await.unwrap();
        listener.accept().await.unwrap();
    });
}

#[test]
fn one_that_is_dropped_outside_the_loop_is_closed_before_the_next_wait() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let add = handle.clone();
        let ours = event_loop
            .block_on(async move { Async::new(&add, ours).unwrap() })
            .unwrap();
        drop(ours);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        assert!(event_loop.is_empty());
        let error = Async::new(&handle, theirs).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    });
}

#[test]
fn one_may_outlive_its_loop() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let mut kept = event_loop.block_on(async move { pair(&handle).0 }).unwrap();
        drop(event_loop);
        let mut other = EventLoop::with_backend(backend).unwrap();
        let error = other.block_on(kept.read(&mut [0])).unwrap().unwrap_err();
        assert!(
            error.to_string().contains("its loop was dropped"),
            "{error}"
        );
    });
}

#[test]
fn a_race_between_a_read_and_a_sleep_has_one_winner() {
    in_every_loop(async |handle| {
        let (mut one, _two) = pair(&handle);
        let mut buf = [0];
        let read = async { one.read(&mut buf).await.map(Some) };
        let sleep = async {
            handle.sleep(Duration::from_millis(1)).await;
            Ok(None)
        };
        assert_eq!(read.or(sleep).await.unwrap(), None);
    });
}
