//! The fields of a table entry, and the macro that turns entries into a type, its defaults and its readers.

use super::{ApiKey, ToolSpans, TraceGrouping};
use crate::origin::Origin;

/// How an option affects the user's privacy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Privacy {
    /// Not at all.
    Unrelated,
    /// It adds to what events say about the user.
    Identity,
    /// It controls how much text is sent: a name that is close to one of these must never be ignored.
    Content,
    /// It controls whether sessions are sent, and where.
    Destination,
}

/// What a project's settings may do to an option. (The user's own settings for a project don't count as the project's.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Project {
    /// Nothing: an option is closed unless its entry opens it.
    Nothing,
    /// Make it stricter than the user's value.
    StricterOnly,
}

/// One option.
#[derive(Debug)]
pub struct Entry {
    /// Its variable.
    pub variable: &'static str,
    /// Its field; with `-` for `_`, its name in the component's interface, if the conversion uses it.
    pub field: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// How it affects privacy.
    pub privacy: Privacy,
    /// What a project's settings may do to it.
    pub project: Project,
    /// Must its value not be shown?
    pub sensitive: bool,
    /// The effective value if it is not set and has no default.
    pub(super) unset: Option<&'static str>,
    pub(super) default: fn() -> Option<String>,
}

impl Entry {
    /// The effective value if it is not set, in display form; none if there is none.
    pub fn default(&self) -> Option<String> {
        self.unset.map(str::to_owned).or_else(self.default)
    }

    /// A value in the form in which it may be shown.
    pub fn shown(&self, value: &str) -> String {
        if !self.sensitive {
            return value.to_owned();
        }
        ApiKey::parse(value).map_or_else(|_| "(not a project token)".to_owned(), |key| key.to_string())
    }
}

/// A value in the form that its variable has, if it can be shown; none if the variable is not set.
pub(super) trait AsText {
    fn as_text(&self) -> Option<String>;
}

impl AsText for bool {
    fn as_text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl AsText for u32 {
    fn as_text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl AsText for TraceGrouping {
    fn as_text(&self) -> Option<String> {
        Some(self.as_str().to_owned())
    }
}

impl AsText for ToolSpans {
    fn as_text(&self) -> Option<String> {
        Some(self.as_str().to_owned())
    }
}

impl AsText for Origin {
    fn as_text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl AsText for Option<String> {
    fn as_text(&self) -> Option<String> {
        self.clone()
    }
}

impl AsText for Option<ApiKey> {
    /// In the form in which it may be shown.
    fn as_text(&self) -> Option<String> {
        self.as_ref().map(ToString::to_string)
    }
}

/// How a project's value makes the user's stricter; none means that it cannot be read, and may have said anything.
pub(super) mod stricter {
    use crate::options::ToolSpans;

    /// True only if both are.
    pub(in super::super) fn both(own: &mut bool, project: Option<bool>) {
        *own &= project.unwrap_or(false);
    }

    /// True if either is.
    pub(in super::super) fn either(own: &mut bool, project: Option<bool>) {
        *own |= project.unwrap_or(true);
    }

    /// The one that sends fewer.
    pub(in super::super) fn fewer(own: &mut ToolSpans, project: Option<ToolSpans>) {
        *own = project.unwrap_or(ToolSpans::None).max(*own);
    }

    /// The smaller one.
    pub(in super::super) fn shorter(own: &mut u32, project: Option<u32>) {
        *own = project.unwrap_or(*own).min(*own);
    }
}

/// Turns a list of entries into their variables' names, a type with a field for each, its defaults and its readers.
/// `stricter` says how a project's value makes the user's stricter; an option without it is closed to projects. `and`
/// lists fields that are not options. A leading `copied by $ name;` also makes a macro of that name, which copies a
/// value to another type with the same fields (`name!(value => Type)`): each side of the component's interface has its
/// own.
macro_rules! options {
    (copied by $d:tt $copy:ident; $($body:tt)*) => {
        options!($($body)*);
        options!(@copy $d $copy $($body)*);
    };
    (
        @copy $d:tt $copy:ident
        $(#[$about:meta])*
        pub struct $Struct:ident {
            $(
                $(#[$doc:meta])*
                $field:ident: $type:ty = $default:expr => $NAME:ident($variable:literal) { $($entry:tt)* }
            )*
        }
        and { $( $(#[$other_doc:meta])* $other:ident: $other_type:ty, )* }
    ) => {
        #[doc = concat!("Copies [`", stringify!($Struct), "`](crate::options::", stringify!($Struct), "): `copy!(value => Type)`.")]
        #[macro_export]
        macro_rules! $copy {
            ($d value:expr => $d Type:path) => {{
                let value = $d value;
                $d Type { $( $field: value.$field.into(), )* $( $other: value.$other.into(), )* }
            }};
        }
    };
    (
        $(#[$about:meta])*
        pub struct $Struct:ident {
            $(
                $(#[$doc:meta])*
                $field:ident: $type:ty = $default:expr => $NAME:ident($variable:literal) {
                    parse: $parse:path,
                    $(stricter: $stricter:path,)?
                    help: $help:literal,
                    $(unset: $unset:literal,)?
                    privacy: $privacy:ident,
                    $(sensitive: $sensitive:literal,)?
                }
            )*
        }
        and { $( $(#[$other_doc:meta])* $other:ident: $other_type:ty, )* }
    ) => {
        $(
            #[doc = concat!("The variable of [`", stringify!($Struct), "::", stringify!($field), "`].")]
            pub const $NAME: &str = $variable;
        )*

        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Struct {
            $(
                $(#[$doc])*
                pub $field: $type,
            )*
            $(
                $(#[$other_doc])*
                pub $other: $other_type,
            )*
        }

        impl Default for $Struct {
            fn default() -> Self {
                Self { $( $field: $default, )* $( $other: Default::default(), )* }
            }
        }

        impl $Struct {
            /// The entries of its options.
            pub const ENTRIES: &'static [$crate::options::Entry] = &[
                $( $crate::options::Entry {
                    variable: $variable,
                    field: stringify!($field),
                    help: $help,
                    privacy: $crate::options::Privacy::$privacy,
                    project: options!(@project $($stricter)?),
                    sensitive: options!(@or false $($sensitive)?),
                    unset: options!(@option $($unset)?),
                    default: || $crate::options::table::AsText::as_text(&{ let value: $type = $default; value }),
                }, )*
            ];

            /// The options' values in the form that their variables have; none for one that is not set.
            pub fn texts(&self) -> Vec<(&'static str, Option<String>)> {
                vec![ $( ($variable, $crate::options::table::AsText::as_text(&self.$field)), )* ]
            }

            fn read(context: &$crate::options::parse::Context<'_>)
                -> Result<Self, $crate::options::parse::InvalidVariable>
            {
                Ok(Self {
                    $( $field: context.value($variable, $parse)?.unwrap_or_else(|| $default), )*
                    $( $other: Default::default(), )*
                })
            }

            fn tighten(&mut self, project: &dyn Fn(&str) -> Option<Option<String>>) {
                $( $(
                    if let Some(said) = project($variable) {
                        $stricter(&mut self.$field, $crate::options::parse::of_project($variable, said, $parse));
                    }
                )? )*
            }
        }
    };
    (@project) => { $crate::options::Project::Nothing };
    (@project $stricter:path) => { $crate::options::Project::StricterOnly };
    (@or $default:literal) => { $default };
    (@or $default:literal $value:literal) => { $value };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
}
