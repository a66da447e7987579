//! Shapes of JSON values as JSON Schema has them: the words in which the API's description says what is read and
//! written, beside the code that does it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, Discriminator, ObjectBuilder, OneOfBuilder,
    SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

/// The shape of a value: spelled out, or a reference to a named one.
pub type ValueSchema = RefOr<Schema>;

/// Shapes with names of their own, collected while a description is written.
#[derive(Default)]
pub struct SchemaRegistry(BTreeMap<String, ValueSchema>);

impl SchemaRegistry {
    /// A reference to a named shape; it is made when it is referred to for the first time.
    pub fn named(&mut self, name: &str, make: impl FnOnce(&mut Self) -> ValueSchema) -> ValueSchema {
        if !self.0.contains_key(name) {
            // Entered before it is made: a shape may contain itself.
            self.0.insert(name.into(), anything());
            let shape = make(self);
            self.0.insert(name.into(), shape);
        }
        Ref::from_schema_name(name).into()
    }

    /// All that were referred to, by name.
    pub fn into_shapes(self) -> BTreeMap<String, ValueSchema> {
        self.0
    }
}

/// Any value.
pub fn anything() -> ValueSchema {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

/// A value of one of JSON's types, to be narrowed down.
pub fn of_type(name: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(name)
}

/// Any string.
pub fn text() -> ValueSchema {
    of_type(Type::String).into()
}

/// Any string but the empty one.
pub fn filled_text() -> ValueSchema {
    of_type(Type::String).min_length(Some(1_usize)).into()
}

/// A string that one of the known formats describes.
pub fn formatted(format: &str) -> ValueSchema {
    of_type(Type::String).format(Some(SchemaFormat::Custom(format.into()))).into()
}

/// A string that a regular expression describes.
pub fn matching(pattern: &str) -> ValueSchema {
    of_type(Type::String).pattern(Some(pattern)).into()
}

/// An id in its canonical form.
pub fn uuid() -> ValueSchema {
    formatted("uuid")
}

/// A time as the server writes it.
pub fn time() -> ValueSchema {
    const WRITTEN: &str = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{6})?(Z|[+-]\d{2}:\d{2})?$";
    of_type(Type::String).pattern(Some(WRITTEN)).examples(["2020-02-22T10:11:12.123456"]).into()
}

/// An object of any keys.
pub fn any_object() -> ValueSchema {
    of_type(Type::Object).into()
}

/// `true` or `false`.
pub fn flag() -> ValueSchema {
    of_type(Type::Boolean).into()
}

/// How many; 0 or more.
pub fn count() -> ValueSchema {
    of_type(Type::Integer).minimum(Some(0_u8)).into()
}

/// A whole number in a range.
pub fn whole(range: RangeInclusive<usize>) -> ValueSchema {
    of_type(Type::Integer).minimum(Some(*range.start())).maximum(Some(*range.end())).into()
}

/// Any number.
pub fn number() -> ValueSchema {
    of_type(Type::Number).into()
}

/// Null.
pub fn null() -> ValueSchema {
    of_type(Type::Null).into()
}

/// One of these values.
pub fn one_value_of<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> ValueSchema {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).enum_values(Some(values)).into()
}

/// A list of values of one shape.
pub fn list(items: ValueSchema) -> ValueSchema {
    ArrayBuilder::new().items(items).into()
}

/// An object of any names, with values of one shape.
pub fn mapping(values: ValueSchema) -> ValueSchema {
    of_type(Type::Object).additional_properties(Some(AdditionalProperties::from(values))).into()
}

/// A value that one of these shapes fits.
pub fn any_of(shapes: impl IntoIterator<Item = ValueSchema>) -> ValueSchema {
    shapes.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).into()
}

/// A value of one of two shapes; of two lists of values one of both.
pub fn either((one, other): (ValueSchema, ValueSchema)) -> ValueSchema {
    if one == other {
        return one;
    }
    match (values(&one), values(&other)) {
        (Some(some), Some(more)) => one_value_of([some, more].concat()),
        _ => any_of([one, other]),
    }
}

/// The values that a text must be one of.
fn values(shape: &ValueSchema) -> Option<Vec<String>> {
    let RefOr::T(Schema::Object(object)) = shape else { return None };
    object.enum_values.as_ref()?.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

/// A value of this shape, or null.
pub fn or_null(shape: ValueSchema) -> ValueSchema {
    any_of([shape, null()])
}

/// An object whose key `by` tells which of these shapes it has: the key's value, and the shape.
pub fn told_apart<'a>(by: &str, shapes: impl IntoIterator<Item = (&'a str, ValueSchema)>) -> ValueSchema {
    let (mut one_of, mut names) = (OneOfBuilder::new(), Vec::new());
    for (value, shape) in shapes {
        if let RefOr::Ref(named) = &shape {
            names.push((value, named.ref_location.clone()));
        }
        one_of = one_of.item(shape);
    }
    one_of.discriminator(Some(Discriminator::with_mapping(by, names))).into()
}

/// The shape with a sentence about it.
pub fn about(mut shape: ValueSchema, sentence: &str) -> ValueSchema {
    match &mut shape {
        RefOr::Ref(named) => named.description = sentence.into(),
        RefOr::T(Schema::Object(object)) => object.description = Some(sentence.into()),
        RefOr::T(Schema::Array(array)) => array.description = Some(sentence.into()),
        RefOr::T(Schema::AnyOf(any_of)) => any_of.description = Some(sentence.into()),
        RefOr::T(Schema::OneOf(one_of)) => one_of.description = Some(sentence.into()),
        // The library may come to know more kinds; we make none of them.
        RefOr::T(_) => {}
    }
    shape
}

/// The shape with what counts where the value is left out.
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

/// An object with keys of its own, in the order in which they are told.
#[derive(Default)]
pub struct ObjectSchema(ObjectBuilder);

impl ObjectSchema {
    /// No keys yet.
    pub fn new() -> Self {
        Self(of_type(Type::Object))
    }

    /// A key that is always there.
    pub fn key(self, name: &str, shape: ValueSchema, sentence: &str) -> Self {
        self.described(name, about(shape, sentence), true)
    }

    /// A key that may be left out.
    pub fn may(self, name: &str, shape: ValueSchema, sentence: &str) -> Self {
        self.described(name, about(shape, sentence), false)
    }

    /// A key whose shape says already what it means.
    pub fn described(self, name: &str, shape: ValueSchema, required: bool) -> Self {
        let object = self.0.property(name, shape);
        Self(if required { object.required(name) } else { object })
    }

    /// The object's shape.
    pub fn shape(self) -> ValueSchema {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, to_value};

    #[test]
    fn named_shapes_are_made_once_and_may_contain_themselves() {
        let mut book = SchemaRegistry::default();
        let tree = |book: &mut SchemaRegistry| {
            let children = list(book.named("Tree", |_| unreachable!("it is entered already")));
            ObjectSchema::new().key("children", children, "What grows on it.").shape()
        };
        let reference = book.named("Tree", tree);
        book.named("Tree", |_| unreachable!("it is made already"));
        assert_eq!(to_value(reference).unwrap(), json!({"$ref": "#/components/schemas/Tree"}));
        let shapes = to_value(book.into_shapes()).unwrap();
        let children = &shapes["Tree"]["properties"]["children"];
        assert_eq!(children["items"], json!({"$ref": "#/components/schemas/Tree"}));
        assert_eq!(children["description"], "What grows on it.");
        assert_eq!(shapes["Tree"]["required"], json!(["children"]));
    }

    #[test]
    fn sentences_and_defaults_stand_beside_every_kind_of_shape() {
        let mut book = SchemaRegistry::default();
        let named = book.named("N", |_| text());
        let all =
            [named, text(), list(text()), or_null(text()), told_apart("t", [("a", text())]), anything()];
        for shape in all {
            let shape = to_value(by_default(about(shape, "Said."), json!([1]))).unwrap();
            assert_eq!((&shape["description"], &shape["default"]), (&json!("Said."), &json!([1])), "{shape}");
        }
    }
}
