//! Extended attributes, by descriptor and without following a symbolic link.

use std::{io, os::fd::AsFd, path::Path};

use rustix::{
    fs::{self, XattrFlags},
    io::Errno,
};

use crate::beneath::descriptor_path;

/// Sets an attribute of an open file or directory.
///
/// # Errors
/// As `fsetxattr(2)`.
pub fn set(file: impl AsFd, attribute: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(fs::fsetxattr(file, attribute, value, XattrFlags::empty())?)
}

/// Sets an attribute of `name` in the directory `dir`; of a symbolic link itself, if it is one.
/// `name` is one component.
///
/// # Errors
/// As `lsetxattr(2)`.
pub fn set_at(dir: impl AsFd, name: &[u8], attribute: &[u8], value: &[u8]) -> io::Result<()> {
    // setxattrat(2) is younger than our oldest kernel.
    let mut path = descriptor_path(dir).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name);
    Ok(fs::lsetxattr(path, attribute, value, XattrFlags::empty())?)
}

/// Whether the file that `handle` (also an `O_PATH` descriptor, but not of a symbolic link) stands
/// for has this attribute with this value.
///
/// # Errors
/// As `getxattr(2)`; an attribute that is absent or not supported is no error.
pub fn is(handle: impl AsFd, attribute: &[u8], value: &[u8]) -> io::Result<bool> {
    let mut buffer = [0; 256];
    match fs::getxattr(descriptor_path(handle), attribute, buffer.as_mut_slice()) {
        Ok(length) => Ok(buffer.get(..length) == Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the file that `handle` stands for (as in [`is`]) has this attribute at all.
///
/// # Errors
/// As `getxattr(2)`.
pub fn has(handle: impl AsFd, attribute: &[u8]) -> io::Result<bool> {
    match fs::getxattr_query(descriptor_path(handle), attribute) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Every attribute of the file that `handle` (also an `O_PATH` descriptor, also of a symbolic link)
/// stands for, with its value, sorted by name. One that vanishes meanwhile is left out.
///
/// # Errors
/// As `listxattr(2)` and `getxattr(2)`; a file system without attributes has none.
pub fn all(handle: impl AsFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // What the kernel allows for the list of names and for one value (xattr(7)).
    const LARGEST: usize = 64 << 10;
    let path = descriptor_path(handle);
    let length = match fs::listxattr(&path, &mut [0_u8; 0]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    if length == 0 {
        return Ok(Vec::new());
    }
    let mut buffer = vec![0; LARGEST];
    let length = fs::listxattr(&path, buffer.as_mut_slice())?;
    let names = buffer.get(..length).unwrap_or_default().to_vec();
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match fs::getxattr(&path, name, buffer.as_mut_slice()) {
            Ok(length) => {
                found.push((name.to_vec(), buffer.get(..length).unwrap_or_default().to_vec()));
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The value of an attribute of `path` (not followed); `None` when it has no such attribute.
///
/// # Errors
/// As `lgetxattr(2)`.
pub fn get(path: &Path, attribute: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 64 << 10];
    match fs::lgetxattr(path, attribute, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use crate::beneath::{Beneath, Links};

    #[test]
    fn an_attribute_is_set_on_the_link_and_not_on_its_target() {
        let scratch = std::env::temp_dir().join(format!("xattr-{}", std::process::id()));
        fs::create_dir(&scratch).unwrap();
        fs::write(scratch.join("file"), "").unwrap();
        symlink("file", scratch.join("link")).unwrap();
        let root = Beneath::open(&scratch).unwrap();
        super::set_at(root.root(), b"link", b"trusted.test", b"1").unwrap();
        super::set(root.root(), b"trusted.overlay.opaque", b"y").unwrap();
        assert_eq!(super::get(&scratch.join("link"), b"trusted.test").unwrap().unwrap(), b"1");
        assert_eq!(super::get(&scratch.join("file"), b"trusted.test").unwrap(), None);
        let dir = root.open_handle(b"", Links::Refused).unwrap();
        assert!(super::is(&dir, b"trusted.overlay.opaque", b"y").unwrap());
        assert!(!super::is(&dir, b"trusted.overlay.opaque", b"x").unwrap());
        assert!(!super::has(&dir, b"trusted.overlay.redirect").unwrap());
        fs::remove_dir_all(&scratch).unwrap();
    }
}
