// The types of `types.wit` and those of picolm-engine say the same. This file is a module of both sides of the wall: `super::wit` are the
// types that bindings make of the interface there, `super::plain` is picolm-engine.

use super::plain;
use super::wit::{kernels, types};
use picolm_core::model::RawValue;

/// Most characters of an error's message.
const MESSAGE: usize = 2000;

/// Two enums with the same names.
macro_rules! same {
    ($a:path, $b:path: $($name:ident),+) => {
        impl From<$a> for $b {
            fn from(value: $a) -> Self {
                use $a as A;
                match value { $(A::$name => Self::$name),+ }
            }
        }
        impl From<$b> for $a {
            fn from(value: $b) -> Self {
                use $b as B;
                match value { $(B::$name => Self::$name),+ }
            }
        }
    };
}

/// Values of metadata, which have other names there.
macro_rules! same_values {
    ($($ours:ident = $theirs:ident),+) => {
        impl From<RawValue> for kernels::Value {
            fn from(value: RawValue) -> Self {
                match value { $(RawValue::$ours(value) => Self::$theirs(value)),+ }
            }
        }
        impl From<kernels::Value> for RawValue {
            fn from(value: kernels::Value) -> Self {
                match value { $(kernels::Value::$theirs(value) => Self::$ours(value)),+ }
            }
        }
    };
}

same!(types::ErrorKind, plain::Kind: Model, Template, Request, Unsupported, ContextFull, Busy, Memory, Storage, State, Stopped);
same!(types::Reason, plain::Reason: Token, Stop, Length, Context, Calls);
same!(types::Want, plain::Want: Nothing, Last, All, Hidden);

impl From<types::KvType> for plain::KvType {
    fn from(kv: types::KvType) -> Self {
        match kv {
            types::KvType::F16 => Self::F16,
            types::KvType::Q80 => Self::Q8_0,
        }
    }
}

impl From<plain::KvType> for types::KvType {
    fn from(kv: plain::KvType) -> Self {
        match kv {
            plain::KvType::F16 => Self::F16,
            plain::KvType::Q8_0 => Self::Q80,
        }
    }
}

impl From<types::Error> for plain::Error {
    fn from(error: types::Error) -> Self {
        // What comes from the other side of the wall may be of any length, and goes into logs.
        let clipped = |text: String| if text.len() > MESSAGE { text.chars().take(MESSAGE).collect() } else { text };
        plain::Error { kind: error.kind.into(), field: error.field.map(clipped), message: clipped(error.message) }
    }
}

impl From<plain::Error> for types::Error {
    fn from(error: plain::Error) -> Self {
        types::Error { kind: error.kind.into(), field: error.field, message: error.message }
    }
}

impl From<types::ModelInfo> for plain::ModelInfo {
    fn from(info: types::ModelInfo) -> Self {
        plain::ModelInfo {
            name: info.name,
            architecture: info.architecture,
            context: info.context as usize,
            trained_context: info.trained_context as usize,
            vocabulary: info.vocabulary as usize,
            layers: info.layers as usize,
            chat_template: info.chat_template,
            backend: info.backend,
            weight_bytes: info.weight_bytes,
        }
    }
}

impl From<plain::ModelInfo> for types::ModelInfo {
    fn from(info: plain::ModelInfo) -> Self {
        types::ModelInfo {
            name: info.name,
            architecture: info.architecture,
            context: info.context as u32,
            trained_context: info.trained_context as u32,
            vocabulary: info.vocabulary as u32,
            layers: info.layers as u32,
            chat_template: info.chat_template,
            backend: info.backend,
            weight_bytes: info.weight_bytes,
        }
    }
}

impl From<types::Usage> for plain::Usage {
    fn from(usage: types::Usage) -> Self {
        let types::Usage { prompt, reused, answer, drafted, accepted } = usage;
        let [prompt, reused, answer, drafted, accepted] =
            [prompt, reused, answer, drafted, accepted].map(|n| n as usize);
        // What comes from the other side of the wall need not make sense.
        plain::Usage { prompt, reused, answer, drafted, accepted: accepted.min(drafted) }
    }
}

impl From<plain::Usage> for types::Usage {
    fn from(usage: plain::Usage) -> Self {
        let plain::Usage { prompt, reused, answer, drafted, accepted } = usage;
        let [prompt, reused, answer, drafted, accepted] = [prompt, reused, answer, drafted, accepted].map(saturated);
        types::Usage { prompt, reused, answer, drafted, accepted }
    }
}

impl From<types::TokenLogprob> for plain::TokenLogprob {
    fn from(entry: types::TokenLogprob) -> Self {
        plain::TokenLogprob { token: entry.token, bytes: entry.bytes, logprob: entry.logprob }
    }
}

impl From<plain::TokenLogprob> for types::TokenLogprob {
    fn from(entry: plain::TokenLogprob) -> Self {
        types::TokenLogprob { token: entry.token, bytes: entry.bytes, logprob: entry.logprob }
    }
}

impl From<types::Call> for plain::Call {
    fn from(call: types::Call) -> Self {
        plain::Call { index: call.index as usize, id: call.id, name: call.name, arguments: call.arguments }
    }
}

impl From<plain::Call> for types::Call {
    fn from(call: plain::Call) -> Self {
        types::Call { index: saturated(call.index), id: call.id, name: call.name, arguments: call.arguments }
    }
}

impl From<types::Piece> for plain::Piece {
    fn from(piece: types::Piece) -> Self {
        let top = piece.top.into_iter().map(Into::into).collect();
        let calls = piece.calls.into_iter().map(Into::into).collect();
        let types::Piece { token, text, reasoning, logprob, .. } = piece;
        plain::Piece { token, text, reasoning, calls, logprob: logprob.map(Into::into), top }
    }
}

impl From<plain::Piece> for types::Piece {
    fn from(piece: plain::Piece) -> Self {
        let top = piece.top.into_iter().map(Into::into).collect();
        let calls = piece.calls.into_iter().map(Into::into).collect();
        let plain::Piece { token, text, reasoning, logprob, .. } = piece;
        types::Piece { token, text, reasoning, calls, logprob: logprob.map(Into::into), top }
    }
}

impl From<types::Event> for plain::Event {
    fn from(event: types::Event) -> Self {
        let id = event.session;
        match event.what {
            types::Happening::Prompt((done, of)) => Self::Prompt { id, done: done as usize, of: of as usize },
            types::Happening::Piece(piece) => Self::Piece { id, piece: piece.into() },
            types::Happening::Finished((reason, usage)) => {
                Self::Finished { id, reason: reason.into(), usage: usage.into() }
            }
            types::Happening::Embedded((embedding, usage)) => Self::Embedded { id, embedding, usage: usage.into() },
            types::Happening::Failed(error) => Self::Failed { id, error: error.into() },
        }
    }
}

impl From<plain::Event> for types::Event {
    fn from(event: plain::Event) -> Self {
        let session = event.id();
        let what = match event {
            plain::Event::Prompt { done, of, .. } => types::Happening::Prompt((done as u32, of as u32)),
            plain::Event::Piece { piece, .. } => types::Happening::Piece(piece.into()),
            plain::Event::Finished { reason, usage, .. } => types::Happening::Finished((reason.into(), usage.into())),
            plain::Event::Embedded { embedding, usage, .. } => types::Happening::Embedded((embedding, usage.into())),
            plain::Event::Failed { error, .. } => types::Happening::Failed(error.into()),
        };
        types::Event { session, what }
    }
}

same_values!(
    Bool = Truth,
    Int = Integer,
    Float = Number,
    Text = Text,
    Bools = Truths,
    Ints = Integers,
    Floats = Numbers,
    Texts = Texts
);

fn saturated(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
