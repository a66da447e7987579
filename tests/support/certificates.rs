//! Certificates of an authority that exists for one test.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::path::PathBuf;

/// An authority with the files that it has signed. Dropping it removes them.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// The names of two files.
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let folder =
            std::env::temp_dir().join(format!("channelstream-ca-{}", uuid::Uuid::new_v4().as_simple()));
        std::fs::create_dir(&folder).expect("a folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, folder.display().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join("ca.pem"), certificate.pem()).expect("the folder exists");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// The file with its own certificate.
    pub fn file(&self) -> String {
        self.path("ca.pem")
    }

    /// A certificate for a name or an address.
    pub fn sign(&self, host: &str) -> Identity {
        self.write(CertificateParams::new([host.to_owned()]).expect("a name"))
    }

    /// The same, from a time that has passed.
    pub fn sign_expired(&self, host: &str) -> Identity {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.write(params)
    }

    fn write(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let name = uuid::Uuid::new_v4().as_simple().to_string();
        let [cert, key_file] = ["cert", "key"].map(|kind| self.path(&format!("{name}-{kind}.pem")));
        std::fs::write(&cert, certificate.pem()).expect("the folder exists");
        std::fs::write(&key_file, key.serialize_pem()).expect("the folder exists");
        Identity { cert, key: key_file }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
