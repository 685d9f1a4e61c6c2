//! From a session's files to what was delivered: conversion, sending, and who does it when.

pub mod conversion;
pub mod cost;
pub mod counted;
pub mod courier;
pub mod extent;
pub mod hook;
pub mod ingest;
pub mod outcome;
pub mod python_plugin;
pub mod record;
pub mod report;
pub mod send;
pub mod status_file;
