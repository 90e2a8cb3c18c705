//! The OAuth client's secret, read when it is needed, so that a renewed file is seen.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::bounded::read_at_most;
use crate::settings::resolved::{Secret, SecretOrigin};

/// The client secret is unavailable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the client secret file {} cannot be read: {reason}", .path.display())]
    Unreadable {
        /// The secret's file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Everyone may read it.
    #[error(
        "the client secret file {} is readable by everyone (mode {mode:04o}), so it is not a secret and was not used: \
         chmod o-r, and consider a new secret",
        .path.display()
    )]
    WorldReadable {
        /// The secret's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing in it, or something that cannot be a secret.
    #[error("the client secret {origin} is not usable: {reason}")]
    Unusable {
        /// The file or the environment.
        origin: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// No secret has more.
const SECRET_BYTES: u64 = 64 * 1024;

/// Reads the secret from where it is, so that a renewed file is seen. Of a symlink the target is judged.
pub fn read_secret(origin: &SecretOrigin) -> Result<Secret, SecretError> {
    let (text, shown) = match origin {
        SecretOrigin::Given(secret) => (secret.expose().to_owned(), "from the environment".to_owned()),
        SecretOrigin::File(path) => {
            let shown = format!("file {}", path.display());
            let unreadable = |reason: String| SecretError::Unreadable { path: path.clone(), reason };
            // Asked by path first: to open a pipe would wait for its other end.
            if !std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.is_file() {
                return Err(unreadable("it is not a regular file".into()));
            }
            let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
            let mode = file.metadata().map_err(|error| unreadable(error.to_string()))?.mode() & 0o7777;
            // Its group may read it, and whom an access list names: that is how a daemon's user is let in.
            if mode & 0o004 != 0 {
                return Err(SecretError::WorldReadable { path: path.clone(), mode });
            }
            let bytes = read_at_most(file, SECRET_BYTES).map_err(|error| unreadable(error.to_string()))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| SecretError::Unusable { origin: shown.clone(), reason: "it is not UTF-8 text" })?;
            // An editor's mark, which nobody sees, is not a part of it.
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
            (text.to_owned(), shown)
        }
    };
    let unusable = |reason| Err(SecretError::Unusable { origin: shown, reason });
    if text.is_empty() {
        unusable("it is empty")
    } else if text.chars().any(char::is_control) {
        unusable("it has more than one line, or control characters")
    } else {
        Ok(Secret::new(text))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_file_is_read_strictly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |content: &[u8], mode: u32| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let origin = SecretOrigin::File(link);
        for (content, secret) in [
            (&b"0123"[..], "0123"),
            (b"hunter2\n", "hunter2"),
            (b"hunter2\r\n", "hunter2"),
            (b" sp ace ", " sp ace "),
            (b"\xef\xbb\xbfhunter2\n", "hunter2"),
        ] {
            write(content, 0o640);
            assert_eq!(read_secret(&origin).unwrap().expose(), secret);
        }
        write(&[b'x'; 65_537], 0o600);
        let refused = read_secret(&origin).unwrap_err();
        assert!(refused.to_string().contains("larger than"), "{refused}");
        for content in [&b""[..], b"\n", b"hunter2\n\n", b"hunter2\0", b"hunter2\xff"] {
            write(content, 0o600);
            let refused = read_secret(&origin).unwrap_err();
            assert!(matches!(refused, SecretError::Unusable { .. }), "{refused}");
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
        write(b"hunter2", 0o644);
        let refused = read_secret(&origin).unwrap_err();
        assert!(refused.to_string().contains("0644"), "{refused}");
        let folder_itself = SecretOrigin::File(folder.path().to_owned());
        assert!(read_secret(&folder_itself).unwrap_err().to_string().contains("not a regular file"));
        let missing = read_secret(&SecretOrigin::File(folder.path().join("none"))).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
        assert!(read_secret(&SecretOrigin::Given(Secret::new(String::new()))).is_err());
    }
}
