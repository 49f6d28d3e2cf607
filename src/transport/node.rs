//! Device nodes: which logical unit a node belongs to, and by which node to speak to it.
//!
//! A tape drive has a dozen nodes (`st0`, `nst0`, `nst0a`, `sg1`, links in `/dev/tape`), and the
//! numbers in their names change at each start of the machine. The kernel's sysfs says which
//! belong together: it leads from a node's major and minor numbers to the SCSI device.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// What a logical unit is (SPC, peripheral device type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 01h: a sequential-access device.
    Tape,
    /// 08h: a medium changer.
    Changer,
}

/// A logical unit as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Tape drive or changer.
    pub unit: Unit,
    /// The node to speak through: `/dev/nst0` for a drive, `/dev/sg2` for a changer.
    pub node: PathBuf,
    /// The generic node, which tells limits of the host adapter. `None` without the `sg` driver.
    pub generic: Option<PathBuf>,
    /// Host, channel, target and unit number, as `6:0:0:0`.
    pub address: String,
    /// Vendor identification.
    pub vendor: String,
    /// Product identification.
    pub product: String,
    /// Unit serial number (SPC, VPD page 80h), where the kernel has it.
    pub serial: Option<String>,
    /// `sg_tablesize` of the host adapter.
    segments: Option<u32>,
}

/// Why a name does not lead to a drive or changer.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Check the name, the cable and the power.
    #[error("{} does not exist", path.display())]
    NotFound { path: PathBuf },
    /// Name another node.
    #[error("{} is {found}, not {wanted}", path.display())]
    Other { path: PathBuf, found: String, wanted: &'static str },
    /// Load the kernel's driver.
    #[error("no kernel driver gives {} a node to speak through: load the module `{module}`", path.display())]
    NoDriver { path: PathBuf, module: &'static str },
    /// Look at the machine.
    #[error("cannot look up {}", path.display())]
    Lookup { path: PathBuf, source: io::Error },
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Tape => "a tape drive",
            Self::Changer => "a medium changer",
        }
    }
}

/// Finds the drive or changer that `path` is a node of, or a link to one.
///
/// # Errors
///
/// When it is none, or is of the other kind.
pub fn resolve(path: &Path, wanted: Unit) -> Result<Device, NodeError> {
    Tree::system().resolve(path, wanted)
}

/// All tape drives and changers that the kernel has, by address. Those without a node are left
/// out.
///
/// # Errors
///
/// When sysfs cannot be read.
pub fn discover() -> io::Result<Vec<Device>> {
    Tree::system().discover()
}

/// Where sysfs and the nodes are.
#[derive(Debug)]
struct Tree {
    sys: PathBuf,
    dev: PathBuf,
}

impl Tree {
    fn system() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into() }
    }

    fn resolve(&self, path: &Path, wanted: Unit) -> Result<Device, NodeError> {
        let metadata = fs::metadata(path).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => NodeError::NotFound { path: path.into() },
            _ => NodeError::Lookup { path: path.into(), source },
        })?;
        let other = |found| NodeError::Other { path: path.into(), found, wanted: wanted.name() };
        let kind = metadata.file_type();
        if !kind.is_char_device() {
            let found = if kind.is_block_device() {
                "a disk"
            } else if kind.is_dir() {
                "a directory"
            } else if kind.is_file() {
                "an ordinary file"
            } else {
                "no device"
            };
            return Err(other(found.into()));
        }
        let (major, minor) = (libc::major(metadata.rdev()), libc::minor(metadata.rdev()));
        let device = self.sys.join(format!("dev/char/{major}:{minor}/device"));
        let Ok(device) = fs::canonicalize(device) else {
            return Err(other(format!("a character device {major}:{minor}")));
        };
        let Some(unit) = unit(&device) else {
            let found = read(&device.join("type")).map_or_else(
                || format!("a character device {major}:{minor}"),
                |number| format!("a SCSI device of type {number}"),
            );
            return Err(other(found));
        };
        if unit != wanted {
            return Err(other(unit.name().into()));
        }
        self.describe(&device, unit).ok_or(NodeError::NoDriver {
            path: path.into(),
            module: match unit {
                Unit::Tape => "st",
                Unit::Changer => "sg",
            },
        })
    }

    fn discover(&self) -> io::Result<Vec<Device>> {
        let mut devices = Vec::new();
        for entry in fs::read_dir(self.sys.join("bus/scsi/devices"))? {
            let Ok(device) = fs::canonicalize(entry?.path()) else { continue };
            devices.extend(unit(&device).and_then(|unit| self.describe(&device, unit)));
        }
        devices.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(devices)
    }

    /// Reads what sysfs says of a SCSI device. `None` when it has no node to speak through.
    fn describe(&self, device: &Path, unit: Unit) -> Option<Device> {
        let generic = children(&device.join("scsi_generic")).into_iter().next();
        let generic = generic.map(|name| self.dev.join(name));
        let node = match unit {
            // The node without a mode letter: the others are undefined until they are set up.
            Unit::Tape => children(&device.join("scsi_tape"))
                .into_iter()
                .find(|name| {
                    name.starts_with("nst") && name.ends_with(|c: char| c.is_ascii_digit())
                })
                .map(|name| self.dev.join(name)),
            Unit::Changer => generic.clone(),
        }?;
        let address = device.file_name()?.to_string_lossy().into_owned();
        let host = address.split(':').next()?;
        let host = self.sys.join(format!("class/scsi_host/host{host}"));
        Some(Device {
            unit,
            node,
            generic,
            vendor: read(&device.join("vendor")).unwrap_or_default(),
            product: read(&device.join("model")).unwrap_or_default(),
            serial: serial(&device.join("vpd_pg80")),
            segments: read(&host.join("sg_tablesize")).and_then(|text| text.parse().ok()),
            address,
        })
    }
}

impl Device {
    /// Pieces of memory that one command may be scattered over, as the host adapter says.
    pub fn segments(&self) -> Option<u32> {
        self.segments
    }
}

fn unit(device: &Path) -> Option<Unit> {
    match read(&device.join("type"))?.as_str() {
        "1" => Some(Unit::Tape),
        "8" => Some(Unit::Changer),
        _ => None,
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The serial number in VPD page 80h, which begins with a header of four bytes.
fn serial(page: &Path) -> Option<String> {
    let bytes = fs::read(page).ok()?;
    let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    let text = bytes.get(4..)?.get(..length)?;
    let text = String::from_utf8_lossy(text).trim_matches([' ', '\0']).to_owned();
    (!text.is_empty()).then_some(text)
}

/// Names in a folder, sorted; none if it is not there.
fn children(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A sysfs with a drive, a changer and a disk. `/dev/null`, `/dev/zero` and `/dev/full` stand
    /// for their nodes, since their numbers are the same everywhere.
    fn tree(folder: &Path) -> Tree {
        let sys = folder.join("sys");
        for (device, number, kind, nodes) in [
            (
                "6:0:0:0",
                "1:3",
                "1",
                &["scsi_generic/sg0", "scsi_tape/nst0", "scsi_tape/nst0a", "scsi_tape/st0"][..],
            ),
            ("6:0:1:0", "1:5", "8", &["scsi_generic/sg1"][..]),
            ("6:0:2:0", "1:7", "0", &["scsi_generic/sg2"][..]),
        ] {
            let path = sys.join("devices").join(device);
            for node in nodes {
                fs::create_dir_all(path.join(node)).unwrap();
            }
            for (name, text) in
                [("type", kind), ("vendor", "ACME    "), ("model", "ULTRIUM 8       ")]
            {
                fs::write(path.join(name), format!("{text}\n")).unwrap();
            }
            fs::write(path.join("vpd_pg80"), b"\x01\x80\x00\x0a  XYZ00007").unwrap();
            fs::create_dir_all(sys.join("bus/scsi/devices")).unwrap();
            symlink(&path, sys.join("bus/scsi/devices").join(device)).unwrap();
            let node = sys.join("dev/char").join(number);
            fs::create_dir_all(&node).unwrap();
            symlink(&path, node.join("device")).unwrap();
        }
        fs::create_dir_all(sys.join("class/scsi_host/host6")).unwrap();
        fs::write(sys.join("class/scsi_host/host6/sg_tablesize"), "256\n").unwrap();
        Tree { sys, dev: "/dev".into() }
    }

    #[test]
    fn any_node_and_any_link_lead_to_the_unit() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(folder.path());
        let link = folder.path().join("by-id");
        symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link] {
            let drive = tree.resolve(path, Unit::Tape).unwrap();
            assert_eq!(drive.node, Path::new("/dev/nst0"));
            assert_eq!(drive.generic.as_deref(), Some(Path::new("/dev/sg0")));
            assert_eq!(drive.serial.as_deref(), Some("XYZ00007"));
            assert_eq!((drive.vendor.as_str(), drive.product.as_str()), ("ACME", "ULTRIUM 8"));
            assert_eq!(drive.segments(), Some(256));
        }
        let changer = tree.resolve(Path::new("/dev/zero"), Unit::Changer).unwrap();
        assert_eq!(changer.node, Path::new("/dev/sg1"));
        let all: Vec<_> = tree.discover().unwrap().into_iter().map(|device| device.unit).collect();
        assert_eq!(all, [Unit::Tape, Unit::Changer]);
    }

    #[test]
    fn what_is_no_drive_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(folder.path());
        let message = |path: &Path| tree.resolve(path, Unit::Tape).unwrap_err().to_string();
        assert!(message(Path::new("/dev/nonesuch")).ends_with("does not exist"));
        assert!(message(folder.path()).ends_with("is a directory, not a tape drive"));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(message(&file).ends_with("is an ordinary file, not a tape drive"));
        assert_eq!(
            message(Path::new("/dev/zero")),
            "/dev/zero is a medium changer, not a tape drive"
        );
        assert_eq!(
            message(Path::new("/dev/full")),
            "/dev/full is a SCSI device of type 0, not a tape drive"
        );
        assert!(message(Path::new("/dev/tty")).contains("character device 5:0"));
    }

    #[test]
    fn a_drive_without_the_kernels_driver_says_which_module() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(folder.path());
        fs::remove_dir_all(tree.sys.join("devices/6:0:0:0/scsi_tape")).unwrap();
        let error = tree.resolve(Path::new("/dev/null"), Unit::Tape).unwrap_err();
        assert!(error.to_string().ends_with("load the module `st`"), "{error}");
    }
}
