import { dirname, join, relative } from 'node:path'
import js from '@eslint/js'
import ts from 'typescript-eslint'

/**
 * The rooms of plugins/ and what else of plugins/ each may import (docs/architecture.md). What is not listed is forbidden. The
 * files beside the rooms (wiring.ts, tls-policy.ts) may import everything.
 */
const ROOMS = {
  cli: [
    'haraka',
    'telemetry',
    'reasons',
    'delivery',
    'requiretls',
    'dane',
    'mta-sts',
    'dnssec-stub',
    'x509',
    'store',
    'tlsrpt',
    'waiting',
    'config',
    'destinations',
    'ini',
    'own-file',
    'own-user',
    'requiretls-hops',
    'resolver-words',
    'settings',
    'wiring',
  ],
  haraka: ['delivery', 'telemetry', 'reasons', 'requiretls', 'x509'],
  telemetry: ['delivery', 'dane', 'mta-sts', 'store', 'reasons', 'tlsrpt'],
  delivery: [
    'reasons',
    'requiretls',
    'dane',
    'mta-sts',
    'dnssec-stub',
    'x509',
    'config',
    'destinations',
    'requiretls-hops',
    'bounded',
  ],
  dane: ['reasons', 'dnssec-stub', 'x509'],
  'mta-sts': ['reasons', 'dnssec-stub', 'x509', 'https', 'store', 'bounded'],
  tlsrpt: ['reasons', 'delivery', 'mta-sts', 'dnssec-stub', 'x509', 'https', 'store', 'bounded'],
  waiting: ['reasons', 'delivery', 'dnssec-stub', 'store'],
  https: ['dnssec-stub', 'x509'],
  'dnssec-stub': ['bounded'],
  x509: [],
  store: ['bounded', 'x509'],
  bounded: [],
  reasons: [],
  requiretls: [],
}

/** Files that think and do no I/O: what they know comes in as arguments. The first comment of each says "Pure". */
const PURE = [
  'settings.ts',
  'resolver-words.ts',
  'config.ts',
  'destinations.ts',
  'requiretls-hops.ts',
  'ini.ts',
  'ini-mistakes.ts',
  'cli/{arguments,check-text,conclude,report,words}.ts',
  'bounded/{map,octets}.ts',
  'delivery/{decide,host-end,judge,packed,raise,requirement,this-server,types}.ts',
  'dane/{tlsa,verify,types}.ts',
  'dnssec-stub/{line,reply,room,rrsets,tcp-reply,types}.ts',
  'haraka/{dial,obstacle,operator-tls,roads,unaided,without-name}.ts',
  'https/address.ts',
  'mta-sts/{record,policy,match,policy-lifetime,conclude,policy-domain,rule,types}.ts',
  'reasons/{codes,catalogue}.ts',
  'requiretls/{demand,offer,parameter}.ts',
  'telemetry/log-line.ts',
  'store/{record,tally,timed,waiting}.ts',
  'store/lmdb/tally-keys.ts',
  'waiting/kept-back.ts',
  'store/redis/settings.ts',
  'tlsrpt/{attribute,key,lines,names,read,record,report,result,schedule,settings,types}.ts',
  'x509/{names,chain,roots,der,key,key-info,trouble}.ts',
]
const IO = [
  'dgram',
  'dns',
  'fs',
  'http',
  'http2',
  'https',
  'net',
  'tls',
  'child_process',
  'cluster',
]

/** Every way in which a file names another module: import, export from, import(), require(), import type. */
function modulesNamed(report) {
  const source = ({ source }) => source && report(source, source.value)
  return {
    ImportDeclaration: source,
    ExportNamedDeclaration: source,
    ExportAllDeclaration: source,
    ImportExpression: source,
    TSImportType: ({ source }) => report(source, source.value),
    TSExternalModuleReference: ({ expression }) => report(expression, expression.value),
    'CallExpression[callee.name="require"]': ({ arguments: [name] }) => report(name, name?.value),
  }
}

/** Where a file of plugins/ lies: `delivery/decide.ts`. */
function inPlugins(filename) {
  return relative(join(import.meta.dirname, 'plugins'), filename)
}

/** The rooms of plugins/, each as it lies on the disk: a new one that is not in ROOMS may import nothing. */
const arrows = {
  create(context) {
    const [room, ...below] = inPlugins(context.filename).split('/')
    if (below.length === 0) return {}
    return modulesNamed((node, name) => {
      if (typeof name !== 'string') {
        context.report({ node, message: 'Name the module, so that its arrow can be seen.' })
        return
      }
      if (!name.startsWith('.')) return
      const [other] = inPlugins(join(dirname(context.filename), name)).split('/')
      const target = other?.replace(/\.[jt]s$/, '')
      if (target === room || ROOMS[room]?.includes(target)) return
      context.report({ node, message: `${room} may not import from ${target}.` })
    })
  },
}

const purity = {
  create(context) {
    const file = inPlugins(context.filename)
    const [first] = context.sourceCode.getAllComments()
    const isCalledPure = first !== undefined && /\bpure\b/i.test(first.value)
    const isListed = PURE.some((pattern) => matchesGlob(file, pattern))
    if (!isListed && !isCalledPure) return {}
    return {
      Program(node) {
        if (isListed && isCalledPure) return
        const message = isListed
          ? 'PURE in eslint.config.mjs has this file; its first comment must say "Pure".'
          : 'This file calls itself pure: put it into PURE of eslint.config.mjs.'
        context.report({ node, loc: { line: 1, column: 0 }, message })
      },
      ...modulesNamed((node, name) => {
        const module = IO.find((io) => new RegExp(`^(node:)?${io}(/|$)`).test(name))
        if (module === undefined || bringsNoIo(node.parent)) return
        context.report({ node, message: `This file does no I/O: no node:${module}.` })
      }),
    }
  },
}

/** Everything that knows Haraka's modules is in haraka/host.ts. */
const host = {
  create(context) {
    if (/^haraka\/(host|types)\.ts$/.test(inPlugins(context.filename))) return {}
    const report = (node) => {
      context.report({ node, message: "Only haraka/host.ts asks for Haraka's modules." })
    }
    return {
      'Identifier[name="haraka_require"]': report,
      'Literal[value="haraka_require"]': report,
    }
  },
}

/** Types are no I/O, and node:net's isIP and BlockList are arithmetic on text. */
function bringsNoIo({ type, importKind, specifiers }) {
  if (type === 'TSImportType' || importKind === 'type') return true
  return (
    type === 'ImportDeclaration' &&
    specifiers.length > 0 &&
    specifiers.every(
      ({ importKind, imported }) =>
        importKind === 'type' || /^(isIP|BlockList)/.test(imported?.name ?? ''),
    )
  )
}

/** `a/{b,c}.ts`, and nothing more of globs. */
function matchesGlob(file, pattern) {
  const [, before, names, after] = /^(.*)\{(.*)\}(.*)$/.exec(pattern) ?? []
  if (names === undefined) return file === pattern
  return names.split(',').some((name) => file === `${before}${name}${after}`)
}

/** What the house holds its files to (test/integration/arrows.test.ts breaks each once). */
export const house = { rules: { arrows, host, purity } }

export default ts.config(
  {
    ignores: [
      '**/dist/',
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
  {
    files: ['plugins/**/*.ts'],
    plugins: { house },
    rules: { 'house/arrows': 'error', 'house/host': 'error', 'house/purity': 'error' },
  },
  {
    // A rejection that nobody hears ends Haraka: where nothing waits for a promise, it says what becomes of its failure.
    files: ['plugins/**/*.ts'],
    rules: { '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: false }] },
  },
)
