//! A response body that can misbehave: a script of steps, played frame by frame.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// One step of a body.
pub(super) enum Step {
    /// Send these bytes as a frame of their own.
    Data(Bytes),
    /// Wait so long before the next step.
    Pause(Duration),
    /// Break the connection off.
    Abort,
}

/// The steps that are left, and the wait that is going on.
pub(super) struct Script {
    steps: Box<dyn Iterator<Item = Step> + Send>,
    pause: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
}

impl Script {
    /// An honest body of known length.
    pub(super) fn whole(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { length: u64::try_from(body.len()).ok(), ..Self::played([Step::Data(body)]) }
    }

    /// A body of unknown length, played as written.
    pub(super) fn played(steps: impl IntoIterator<Item = Step, IntoIter: Send + 'static>) -> Self {
        Self { steps: Box::new(steps.into_iter()), pause: None, length: None }
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
            return Poll::Ready(match self.steps.next() {
                None => None,
                Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
                Some(Step::Abort) => Some(Err(io::Error::other("broken off on command"))),
                Some(Step::Pause(pause)) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(pause)));
                    continue;
                }
            });
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A gzip body that inflates to more than a gigabyte of zeros, some 160 to 1. The checksum at its end is wrong: a
/// client that gets that far has lost.
pub(super) fn gzip_bomb() -> Script {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // RFC 1951, 3.2.6, low bits first: final block, fixed codes (1 10), one literal zero (00110000), and a match of 258
    // bytes from one byte back (11000101 00000). These are 24 bits, so that what follows is byte-aligned.
    const OPENING: [u8; 3] = [0x63, 0x18, 0x05];
    // Eight more such matches: 104 bits.
    const MATCHES: [u8; 13] = [0xa3, 0x60, 0x14, 0x8c, 0x82, 0x51, 0x30, 0x0a, 0x46, 0xc1, 0x28, 0x18, 0x05];
    const REPEATED: usize = 1_260;
    let chunk = Bytes::from(MATCHES.repeat(REPEATED));
    let chunks = (1 << 30) / (REPEATED * 8 * 258) + 2;
    let opening = [HEADER.as_slice(), &OPENING].concat();
    Script::played(
        std::iter::once(Bytes::from(opening))
            .chain(std::iter::repeat_n(chunk, chunks))
            .chain([Bytes::from_static(&[0; 9])])
            .map(Step::Data),
    )
}
