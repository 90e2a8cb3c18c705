//! A response body that can misbehave: a script of steps, played frame by frame.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// One step of a body.
pub(super) enum Step {
    /// Send this.
    Data(Bytes),
    /// Send this so many times.
    Times(Bytes, u64),
    /// Wait.
    Pause(Duration),
    /// Break the connection.
    Abort,
}

/// The steps, and the wait that is going on.
pub(super) struct Script {
    steps: VecDeque<Step>,
    pause: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
}

impl Script {
    /// An honest body, its length known.
    pub(super) fn whole(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { length: u64::try_from(body.len()).ok(), steps: VecDeque::from([Step::Data(body)]), pause: None }
    }

    /// A body of unknown length, played as written.
    pub(super) fn played(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), pause: None, length: None }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            return match self.steps.pop_front() {
                None => Poll::Ready(None),
                Some(Step::Data(data)) if data.is_empty() => continue,
                Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Step::Times(_, 0)) => continue,
                Some(Step::Times(data, times)) => {
                    let left = times.saturating_sub(1);
                    self.steps.push_front(Step::Times(data.clone(), left));
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Some(Step::Pause(pause)) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(pause)));
                    continue;
                }
                Some(Step::Abort) => Poll::Ready(Some(Err(io::Error::other("told to break off")))),
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A gzip body that inflates to more than a gigabyte of zeros, some 160 to 1: one literal zero, then "258 bytes from one byte back" over
/// and over (RFC 1951, 3.2.6: fixed Huffman codes). Eight such matches are 104 bits, so the pattern repeats every 13 bytes. The
/// checksum at the end is wrong: who gets that far has lost.
pub(super) fn gzip_bomb() -> Script {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // Bits in the order in which DEFLATE packs them: final block, fixed codes (01, low bit first), literal 0.
    let opening = "1 10 00110000";
    // Length code 285 (258 bytes), distance code 0 (one back).
    let matched = "11000101 00000";
    let bits = |text: &str| -> Vec<bool> { text.chars().filter(|one| *one != ' ').map(|one| one == '1').collect() };
    let mut stream = bits(opening);
    // 11 opening bits and 13 of each match: after one match there are 24, and everything from there on is byte-aligned.
    stream.extend(bits(matched));
    let opening = packed(&stream);
    let eight: Vec<bool> = bits(matched).repeat(8);
    let pattern = packed(&eight).repeat(1_260);
    let times = (1_u64 << 30) / (1_260 * 8 * 258) + 2;
    Script::played([
        Step::Data(Bytes::copy_from_slice(&header)),
        Step::Data(Bytes::from(opening)),
        Step::Times(Bytes::from(pattern), times),
        Step::Data(Bytes::from_static(&[0; 9])),
    ])
}

fn packed(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0_u8, |value, bit| value << 1 | u8::from(*bit))).collect()
}
