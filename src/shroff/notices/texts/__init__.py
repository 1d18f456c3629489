"""Texts of notices: templates, their sandbox, wording by language, mails as bytes."""
