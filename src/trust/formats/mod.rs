//! What is read: bounded, strict, and nothing is believed of it. What may be trusted is decided in
//! [`crate::trust::verify`].

pub mod archive;
pub mod certificate;
pub(crate) mod der;
pub(crate) mod distinguished_name;
pub mod pem;
