//! Why a node cannot connect, in words for an operator. Pure.

use redis::RedisError;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use std::error::Error;
use std::io;
use std::sync::Arc;

/// What an error of a connection means for an operator. Contains no secret.
pub fn describe(error: &RedisError) -> String {
    tls_problem(error).unwrap_or_else(|| error.to_string())
}

/// What an error of TLS means for an operator. `None` for all other errors.
pub fn tls_problem(error: &RedisError) -> Option<String> {
    // The crate's error has the cause in a shared pointer, and that one the cause as a part of an error of the system.
    let shared = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    let inner = shared.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let error = inner.and_then(|inner| inner.downcast_ref::<TlsError>()).or(shared.downcast_ref())?;
    Some(match error {
        // Another authority of the same name causes a bad signature.
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the certificate of the server was not signed by an authority that is known; engine_ca_file must contain it"
                .into()
        }
        TlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the certificate of the server has expired".into(),
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the certificate of the server is for another name than the one in the address".into(),
        TlsError::InvalidCertificate(reason) => {
            format!("the certificate of the server is not valid: {reason}")
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server requires a certificate; set engine_cert_file and engine_key_file".into()
        }
        TlsError::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateExpired,
        ) => "the server refuses the certificate in engine_cert_file".into(),
        TlsError::InvalidMessage(_) => "the server does not speak TLS at this port".into(),
        error => format!("TLS: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::InvalidMessage;

    /// As a handshake reports it.
    fn of(error: TlsError) -> RedisError {
        io::Error::new(io::ErrorKind::InvalidData, error).into()
    }

    #[test]
    fn problems_of_tls_are_distinguished() {
        for (error, words) in [
            (TlsError::InvalidCertificate(CertificateError::BadSignature), "engine_ca_file must contain it"),
            (TlsError::InvalidCertificate(CertificateError::Expired), "has expired"),
            (TlsError::InvalidCertificate(CertificateError::NotValidForName), "is for another name"),
            (TlsError::InvalidCertificate(CertificateError::Revoked), "is not valid: Revoked"),
            (TlsError::AlertReceived(AlertDescription::CertificateRequired), "set engine_cert_file"),
            (
                TlsError::AlertReceived(AlertDescription::UnknownCA),
                "refuses the certificate in engine_cert_file",
            ),
            (TlsError::InvalidMessage(InvalidMessage::InvalidContentType), "does not speak TLS"),
            (TlsError::HandshakeNotComplete, "TLS: handshake not complete"),
        ] {
            let problem = tls_problem(&of(error)).unwrap();
            assert!(problem.contains(words), "{problem}");
        }
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(tls_problem(&refused), None);
        assert_eq!(describe(&refused), refused.to_string());
    }
}
