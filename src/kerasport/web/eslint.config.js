import jsdoc from 'eslint-plugin-jsdoc'

export default [
  jsdoc.configs['flat/recommended-typescript-flavor-error'],
  {
    rules: {
      'func-style': ['error', 'declaration', { allowArrowFunctions: true }],
      'no-unused-vars': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      eqeqeq: 'error',
      semi: 'off',
      // names and types are often enough
      'jsdoc/require-param-description': 'off',
      'jsdoc/require-property-description': 'off',
      'jsdoc/require-returns-description': 'off',
      'jsdoc/require-jsdoc': ['error', { publicOnly: false }],
      'jsdoc/tag-lines': ['error', 'any', { startLines: 1 }],
    },
  },
  { files: ['test/**'], rules: { 'jsdoc/require-jsdoc': 'off' } },
]
