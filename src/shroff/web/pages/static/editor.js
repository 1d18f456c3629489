// The editor: lines and colours behind the text, mistakes at their place as one types, names that fit.
export {};
