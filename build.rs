//! Converts the API description, `src/http/openapi/*.yaml`, to JSON. Cargo also rebuilds the server when a file is added to
//! `static/` or changed: `src/web/assets.rs` embeds that folder.

use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::{env, fs};

const DESCRIPTION: &str = "src/http/openapi";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=static");
    println!("cargo:rerun-if-changed={DESCRIPTION}");
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(DESCRIPTION)? {
        let path = entry?.path();
        if let (Some(name), Some("yaml")) = (path.file_stem(), path.extension().and_then(|end| end.to_str()))
        {
            let value = read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            files.insert(name.to_string_lossy().into_owned(), value);
        }
    }
    let target = Path::new(&env::var("OUT_DIR")?).join("openapi.json");
    Ok(fs::write(target, serde_json::to_string(&files)?)?)
}

fn read(path: &Path) -> Result<Value, Box<dyn Error>> {
    // The budget of the library protects servers from files of strangers; it allows few aliases.
    let options = serde_saphyr::options! { budget: None };
    Ok(serde_saphyr::from_str_with_options(&fs::read_to_string(path)?, options)?)
}
