//! Builders for JSON Schemas. The OpenAPI description uses them next to the code that reads and writes the values.

use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, Discriminator, ObjectBuilder, OneOfBuilder,
    SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

/// The schema of a value, inline or as a reference to a named schema.
pub type ValueSchema = RefOr<Schema>;

/// The named schemas, collected while the OpenAPI description is created.
#[derive(Default)]
pub struct SchemaRegistry(BTreeMap<String, ValueSchema>);

impl SchemaRegistry {
    /// Returns a reference to a named schema, which is created on the first reference.
    pub fn named(&mut self, name: &str, make: impl FnOnce(&mut Self) -> ValueSchema) -> ValueSchema {
        if !self.0.contains_key(name) {
            // Inserted before it is created, because a schema may contain itself.
            self.0.insert(name.into(), anything());
            let shape = make(self);
            self.0.insert(name.into(), shape);
        }
        Ref::from_schema_name(name).into()
    }

    /// All referenced schemas, by name.
    pub fn into_shapes(self) -> BTreeMap<String, ValueSchema> {
        self.0
    }
}

pub fn anything() -> ValueSchema {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

/// A builder for a value of one of JSON's types.
pub fn of_type(name: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(name)
}

pub fn text() -> ValueSchema {
    of_type(Type::String).into()
}

/// Any string except the empty one.
pub fn filled_text() -> ValueSchema {
    of_type(Type::String).min_length(Some(1_usize)).into()
}

/// A string in a known format.
pub fn formatted(format: &str) -> ValueSchema {
    of_type(Type::String).format(Some(SchemaFormat::Custom(format.into()))).into()
}

/// A string that matches a regular expression.
pub fn matching(pattern: &str) -> ValueSchema {
    of_type(Type::String).pattern(Some(pattern)).into()
}

/// A UUID in its canonical form.
pub fn uuid() -> ValueSchema {
    formatted("uuid")
}

/// A time as the server writes it.
pub fn time() -> ValueSchema {
    const WRITTEN: &str = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{6})?(Z|[+-]\d{2}:\d{2})?$";
    of_type(Type::String).pattern(Some(WRITTEN)).examples(["2020-02-22T10:11:12.123456"]).into()
}

/// An object with any keys.
pub fn any_object() -> ValueSchema {
    of_type(Type::Object).into()
}

pub fn flag() -> ValueSchema {
    of_type(Type::Boolean).into()
}

/// An integer of at least 0.
pub fn count() -> ValueSchema {
    of_type(Type::Integer).minimum(Some(0_u8)).into()
}

/// An integer in a range.
pub fn whole(range: RangeInclusive<usize>) -> ValueSchema {
    of_type(Type::Integer).minimum(Some(*range.start())).maximum(Some(*range.end())).into()
}

pub fn number() -> ValueSchema {
    of_type(Type::Number).into()
}

pub fn null() -> ValueSchema {
    of_type(Type::Null).into()
}

/// One of these values.
pub fn one_value_of<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> ValueSchema {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).enum_values(Some(values)).into()
}

/// A list of values of one schema.
pub fn list(items: ValueSchema) -> ValueSchema {
    ArrayBuilder::new().items(items).into()
}

/// An object with any keys and values of one schema.
pub fn mapping(values: ValueSchema) -> ValueSchema {
    of_type(Type::Object).additional_properties(Some(AdditionalProperties::from(values))).into()
}

/// A value of any of these schemas.
pub fn any_of(shapes: impl IntoIterator<Item = ValueSchema>) -> ValueSchema {
    shapes.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).into()
}

/// A value of one of two schemas. Two lists of values are merged.
pub fn either((one, other): (ValueSchema, ValueSchema)) -> ValueSchema {
    if one == other {
        return one;
    }
    match (values(&one), values(&other)) {
        (Some(some), Some(more)) => one_value_of([some, more].concat()),
        _ => any_of([one, other]),
    }
}

/// The allowed values of a string.
fn values(shape: &ValueSchema) -> Option<Vec<String>> {
    let RefOr::T(Schema::Object(object)) = shape else { return None };
    object.enum_values.as_ref()?.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

/// A value of this schema, or null.
pub fn or_null(shape: ValueSchema) -> ValueSchema {
    any_of([shape, null()])
}

/// An object of one of these schemas, which the value of the key `by` selects.
pub fn discriminated<'a>(by: &str, shapes: impl IntoIterator<Item = (&'a str, ValueSchema)>) -> ValueSchema {
    let (mut one_of, mut names) = (OneOfBuilder::new(), Vec::new());
    for (value, shape) in shapes {
        if let RefOr::Ref(named) = &shape {
            names.push((value, named.ref_location.clone()));
        }
        one_of = one_of.item(shape);
    }
    one_of.discriminator(Some(Discriminator::with_mapping(by, names))).into()
}

/// Sets the description of a schema.
pub fn about(mut shape: ValueSchema, description: &str) -> ValueSchema {
    match &mut shape {
        RefOr::Ref(named) => named.description = description.into(),
        RefOr::T(Schema::Object(object)) => object.description = Some(description.into()),
        RefOr::T(Schema::Array(array)) => array.description = Some(description.into()),
        RefOr::T(Schema::AnyOf(any_of)) => any_of.description = Some(description.into()),
        RefOr::T(Schema::OneOf(one_of)) => one_of.description = Some(description.into()),
        // Future kinds of the library, which are not used here.
        RefOr::T(_) => {}
    }
    shape
}

/// Sets the default value of a schema.
pub fn by_default(mut shape: ValueSchema, value: Value) -> ValueSchema {
    match &mut shape {
        RefOr::Ref(named) => named.default = Some(value),
        RefOr::T(Schema::Object(object)) => object.default = Some(value),
        RefOr::T(Schema::Array(array)) => array.default = Some(value),
        RefOr::T(Schema::AnyOf(any_of)) => any_of.default = Some(value),
        RefOr::T(Schema::OneOf(one_of)) => one_of.default = Some(value),
        RefOr::T(_) => {}
    }
    shape
}

/// A builder for an object with known keys, in order.
#[derive(Default)]
pub struct ObjectSchema(ObjectBuilder);

impl ObjectSchema {
    pub fn new() -> Self {
        Self(of_type(Type::Object))
    }

    /// Adds a required key.
    pub fn key(self, name: &str, shape: ValueSchema, description: &str) -> Self {
        self.described(name, about(shape, description), true)
    }

    /// Adds an optional key.
    pub fn may(self, name: &str, shape: ValueSchema, description: &str) -> Self {
        self.described(name, about(shape, description), false)
    }

    /// Adds a key whose schema already has a description.
    pub fn described(self, name: &str, shape: ValueSchema, required: bool) -> Self {
        let object = self.0.property(name, shape);
        Self(if required { object.required(name) } else { object })
    }

    /// The finished schema.
    pub fn shape(self) -> ValueSchema {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, to_value};

    #[test]
    fn named_schemas_are_created_once_and_may_contain_themselves() {
        let mut schemas = SchemaRegistry::default();
        let tree = |schemas: &mut SchemaRegistry| {
            let children = list(schemas.named("Tree", |_| unreachable!("the schema is already registered")));
            ObjectSchema::new().key("children", children, "The child nodes.").shape()
        };
        let reference = schemas.named("Tree", tree);
        schemas.named("Tree", |_| unreachable!("the schema already exists"));
        assert_eq!(to_value(reference).unwrap(), json!({"$ref": "#/components/schemas/Tree"}));
        let shapes = to_value(schemas.into_shapes()).unwrap();
        let children = &shapes["Tree"]["properties"]["children"];
        assert_eq!(children["items"], json!({"$ref": "#/components/schemas/Tree"}));
        assert_eq!(children["description"], "The child nodes.");
        assert_eq!(shapes["Tree"]["required"], json!(["children"]));
    }

    #[test]
    fn every_kind_of_schema_accepts_a_description_and_a_default() {
        let mut schemas = SchemaRegistry::default();
        let named = schemas.named("N", |_| text());
        let all =
            [named, text(), list(text()), or_null(text()), discriminated("t", [("a", text())]), anything()];
        for shape in all {
            let shape = to_value(by_default(about(shape, "A description."), json!([1]))).unwrap();
            assert_eq!(
                (&shape["description"], &shape["default"]),
                (&json!("A description."), &json!([1])),
                "{shape}"
            );
        }
    }
}
