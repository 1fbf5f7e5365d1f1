// Faults, not taste: how the page is written is told by the page itself.
export default [
  {
    files: ["assets/*.js"],
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "module",
      globals: Object.fromEntries([
        "AbortController", "BigInt", "Blob", "BroadcastChannel", "CSS", "EventSource", "Intl", "ResizeObserver", "URL", "URLSearchParams", "addEventListener",
        "clearTimeout", "document", "fetch", "getSelection", "globalThis", "history", "innerHeight", "localStorage", "sessionStorage", "scrollY", "location", "navigator",
        "performance", "requestAnimationFrame", "scrollTo", "setInterval", "setTimeout", "window",
      ].map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error", "constructor-super": "error", "eqeqeq": "error", "for-direction": "error", "getter-return": "error",
      "no-async-promise-executor": "error", "no-class-assign": "error", "no-compare-neg-zero": "error", "no-cond-assign": "error",
      "no-const-assign": "error", "no-constant-binary-expression": "error", "no-constant-condition": "error", "no-control-regex": "error",
      "no-debugger": "error", "no-dupe-args": "error", "no-dupe-class-members": "error", "no-dupe-else-if": "error", "no-dupe-keys": "error",
      "no-duplicate-case": "error", "no-duplicate-imports": "error", "no-empty": "error", "no-empty-pattern": "error", "no-eval": "error",
      "no-ex-assign": "error", "no-fallthrough": "error", "no-func-assign": "error", "no-global-assign": "error", "no-implied-eval": "error",
      "no-import-assign": "error", "no-inner-declarations": "error", "no-irregular-whitespace": "error", "no-loss-of-precision": "error",
      "no-misleading-character-class": "error", "no-new-func": "error", "no-octal": "error", "no-prototype-builtins": "error",
      "no-redeclare": "error", "no-regex-spaces": "error", "no-script-url": "error", "no-self-assign": "error", "no-self-compare": "error",
      "no-setter-return": "error", "no-shadow": "error", "no-shadow-restricted-names": "error", "no-sparse-arrays": "error",
      "no-template-curly-in-string": "error", "no-this-before-super": "error", "no-undef": "error", "no-unexpected-multiline": "error",
      "no-unreachable": "error", "no-unsafe-finally": "error", "no-unsafe-negation": "error", "no-unsafe-optional-chaining": "error",
      "no-unused-labels": "error", "no-unused-vars": "error", "no-useless-catch": "error", "no-useless-escape": "error", "no-var": "error",
      "no-with": "error", "prefer-const": "error", "require-yield": "error", "use-isnan": "error", "valid-typeof": "error",
    },
  },
];
