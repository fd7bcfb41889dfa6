//! The Unix socket's file: made with mode 0600, replaced only when nobody listens.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::PlaneError;

/// Longest path that a socket address holds, in bytes (sockaddr_un, less its NUL).
const PATH_BYTES_MAX: usize = 107;

/// A listening socket that removes its file when it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: mio::net::UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Another plane may have taken the path over meanwhile.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`.
///
/// # Errors
/// [`PlaneError::Socket`] with one line that says why.
pub(super) fn listen(path: &Path) -> Result<Listening, PlaneError> {
    let refused = |why: String| PlaneError::Socket(format!("{}: {why}", path.display()));
    let length = path.as_os_str().len();
    if length > PATH_BYTES_MAX {
        let why = format!("socket path of {length} bytes is too long, {PATH_BYTES_MAX} at most");
        return Err(refused(why));
    }
    remove_stale(path).map_err(refused)?;
    let listener = UnixListener::bind(path)
        .map_err(|error| refused(format!("cannot listen at this socket: {error}")))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let inode = fs::symlink_metadata(path)?.ino();
    let listener = mio::net::UnixListener::from_std(listener);
    Ok(Listening {
        listener,
        path: path.to_owned(),
        inode,
    })
}

fn remove_stale(path: &Path) -> Result<(), String> {
    let Ok(file) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !file.file_type().is_socket() {
        return Err("is there and is not a socket".to_owned());
    }
    match UnixStream::connect(path) {
        Ok(_) => Err("another plane listens at this socket".to_owned()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("cannot remove a stale socket: {error}"))
        }
        Err(error) => Err(format!("cannot tell who listens at this socket: {error}")),
    }
}
