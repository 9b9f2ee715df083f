//! The WIT files, which stay as they were released: components are built against them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 of each file. A change of what is offered is a new package beside these.
const RELEASED: [(&str, &str); 8] = [
    ("atfunc-runtime-0.1.0/runtime.wit", "c4666d872ffee301c65a8b23977a799b6c24f4dc1865cecba59903d53ba5f656"),
    ("atfunc-runtime-0.2.0/runtime.wit", "7ee3306691a7b431837a8ca79918d9c744266105e04ad79a2568257ec8d6665a"),
    ("wasi-0.2.12/cli.wit", "fb6ac5d23fcaf3d231142a3c2f9bb1e9bc1fe5af6f1f329f6b1a5555ce0d3873"),
    ("wasi-0.2.12/clocks.wit", "6ed8aa65bb8cbe224a0b2cbac9fc1b3bd25bdb17eda5ae0d23c983ed31c447cc"),
    ("wasi-0.2.12/filesystem.wit", "e675f261017bf9b4fa7df5b9701023fe0249ede71021ac1bf978748e62edcda8"),
    ("wasi-0.2.12/io.wit", "96e206d00076fa0480df32c5bcf255a3fa4862805ac2f6b8537a781cce54f433"),
    ("wasi-0.2.12/random.wit", "48578c40213d5cab6650980905fa146a0be8c39c4433ee5e7e00637b87dbe08f"),
    ("wasi-0.2.12/sockets.wit", "ad38dbf3b0bbdf34c0f2b608edcbfee04d71b443a63faff1f5e0053c3f84b377"),
];

#[test]
fn released_wit_files_do_not_change() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/wit"));
    let mut found = BTreeMap::new();
    for package in fs::read_dir(folder).unwrap() {
        let package = package.unwrap();
        for file in fs::read_dir(package.path()).unwrap() {
            let file = file.unwrap();
            let name = format!(
                "{}/{}",
                package.file_name().into_string().unwrap(),
                file.file_name().into_string().unwrap()
            );
            if name.ends_with(".wit") {
                let digest = Sha256::digest(fs::read(file.path()).unwrap());
                found.insert(name, data_encoding::HEXLOWER.encode(&digest));
            }
        }
    }
    let released = RELEASED.map(|(name, digest)| (name.to_owned(), digest.to_owned()));
    assert_eq!(found, BTreeMap::from(released));
}
