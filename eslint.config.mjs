import js from '@eslint/js'
import ts from 'typescript-eslint'

/**
 * The rooms of plugins/ and the rooms each may import from (docs/architecture.md). What is not listed is forbidden.
 */
const ROOMS = {
  cli: [
    'haraka',
    'observe',
    'delivery',
    'dane',
    'mta-sts',
    'dnssec-stub',
    'x509',
    'store',
    'config',
  ],
  haraka: ['delivery', 'observe', 'x509'],
  observe: ['delivery', 'dane', 'mta-sts'],
  delivery: ['dane', 'mta-sts', 'dnssec-stub', 'x509', 'config'],
  dane: ['dnssec-stub', 'x509'],
  'mta-sts': ['dnssec-stub', 'x509', 'store'],
  'dnssec-stub': [],
  x509: [],
  store: [],
}

/** Files that think and do no I/O: what they know comes in as arguments. */
const PURE = [
  'plugins/config.ts',
  'plugins/delivery/{decide,judge,types}.ts',
  'plugins/dane/{tlsa,verify,types}.ts',
  'plugins/mta-sts/{record,policy,match,types}.ts',
  'plugins/x509/{names,chain,roots,der}.ts',
  'plugins/observe/{reasons,log-line}.ts',
]
const IO = ['dgram', 'dns', 'fs', 'http', 'https', 'net', 'tls', 'child_process', 'cluster']

const ALL = [...Object.keys(ROOMS), 'config', 'tls-policy']

function forbidden(room) {
  return ALL.filter((other) => other !== room && !ROOMS[room].includes(other)).flatMap((other) => [
    `../${other}`,
    `../${other}/*`,
  ])
}

const arrows = Object.keys(ROOMS).map((room) => ({
  files: [`plugins/${room}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      { patterns: [{ group: forbidden(room), message: `${room} may not import from there.` }] },
    ],
  },
}))

const purity = {
  files: PURE,
  rules: {
    'no-restricted-syntax': [
      'error',
      ...IO.map((module) => ({
        // node:net's isIP is arithmetic on text.
        selector: `ImportDeclaration[importKind!="type"][source.value=/^node:${module}(\\u002F|$)/]:has(ImportSpecifier[imported.name!=/^isIP/], ImportDefaultSpecifier, ImportNamespaceSpecifier)`,
        message: `This file does no I/O: no node:${module}.`,
      })),
    ],
  },
}

export default ts.config(
  {
    ignores: [
      'dist/',
      '.relay/',
      '.demo/',
      '.cache/',
      'coverage/',
      '**/*.mjs',
      '**/*.cjs',
      '**/*.js',
    ],
  },
  js.configs.recommended,
  ...ts.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
    },
  },
  ...arrows,
  purity,
)
